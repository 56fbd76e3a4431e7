"""Train the normalisers alone: every other weight is frozen where it stands, so the function is the same.

    y = γ · normalised(W x) + β   with W fixed; γ, β (about 1 % of a network) are what a task changes

Source: Frankle et al. 2021, "Training BatchNorm and Only BatchNorm", arXiv:2003.00152, sections 3 and 4.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from normkit.conversion._framework.pairs import Pairs
from normkit.conversion._framework.rule import Refusal, Rule, Site
from normkit.surgery import copy
from normkit.weights import affine_normalizers, freeze, keep_statistics, keeps_statistics, subset_masks
from normkit.weights.freezing import CONDITIONS, head_of

__all__ = ["AffineOnly"]


@dataclass(frozen=True)
class AffineOnly(Rule):
    """Freeze all but the affine parameters of the normalisers (or another part, to compare with), exactly.

    What trains is set by `requires_grad`, whatever it was before; give the optimiser those parameters, with weight
    decay. `normkit.weights.save_affine` keeps what was learned in a file of about 1 % of the network.

    Args:
        condition: `"affine"`, `"affine+output"`, `"output"`, `"shortcut"`, `"shortcut+output"`, `"random"`,
            `"no-affine"` or `"all"`; the table stands at `normkit.weights.freeze`.
        head: path of the output layer for the conditions that train it; `"auto"` is the last map registered.
        names: glob patterns over paths of the normalisers that count, separated by commas; `"*"` is all.
        statistics: `"move"` lets running statistics follow the new data in training, as the paper does; `"keep"` uses
            and keeps those that the network has, in training too.
        count: weights of each filter that train under `"random"`.
        seed: of their positions.

    Raises:
        ValueError: an unknown condition or choice for the statistics, or `count` below 1.
    """

    slug: ClassVar[str] = "affine-only"
    why: ClassVar[str] = "only γ and β of the normalisers train; the weights are a fixed bank of features"
    about: ClassVar[str] = "normalisers with affine parameters"
    chooses_what_trains: ClassVar[bool] = True

    condition: str = "affine"
    head: str = "auto"
    names: str = "*"
    statistics: str = "move"
    count: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        """Options are checked where they are given."""
        if self.condition not in CONDITIONS:
            raise ValueError(f"AffineOnly: condition is {self.condition!r}: it must be one of {', '.join(CONDITIONS)}")
        if self.statistics not in ("move", "keep"):
            raise ValueError(f'AffineOnly: statistics is "move" or "keep", got {self.statistics!r}')
        if self.count < 1:
            raise ValueError(f"AffineOnly: count is {self.count}: at least one weight of a filter must train")

    @property
    def remark(self) -> str:
        """What is saved, and what moves."""
        moves = {
            "move": "running statistics move in training mode (statistics='keep' holds them)",
            "keep": "running statistics are used and kept in training mode too",
        }
        saved = "gradients still flow through what is frozen, so no memory of activations is saved"
        return f"{saved}; {moves[self.statistics]}"

    def matches(self, site: Site) -> bool:
        """The network itself, where it has normalisers with affine parameters."""
        if site.path:
            return False
        try:
            return bool(affine_normalizers(site.model, self._patterns()))
        except ValueError:
            return False

    def survey(self, site: Site) -> dict[str, Any]:
        """Which modules are the output layer; refuses where all is as it would be made."""
        try:
            head = head_of(site.model, self.head) if "output" in self.condition else ()
            twin = copy(site.model)
            before = _trains(twin), keeps_statistics(twin)
            self._apply(twin, head)
        except ValueError as error:
            raise Refusal(str(error)) from None
        if (_trains(twin), keeps_statistics(twin)) == before:
            raise Refusal(f"what trains is chosen so already (condition {self.condition!r})")
        return {"head": list(head)}

    def replacement(self, site: Site, pairs: Pairs | None) -> nn.Module:
        """The same network; what does not train is frozen."""
        kept = keeps_statistics(site.model)
        before = _trains(site.model)
        self._apply(site.model, tuple(site.details["head"]))
        masks = subset_masks(site.model)
        for path, now in _trains(site.model).items():
            if before.get(path) == now:
                continue
            after = f"{self.count} weights of each filter train" if path in masks else _WORDS[now]
            why = self.why if self.condition == "affine" else f"condition {self.condition!r}: {after}"
            site.note(path, _WORDS[before.get(path, False)], after, why)
        if kept != keeps_statistics(site.model):
            site.note("", _STATISTICS[kept], _STATISTICS[not kept], "as the option `statistics` says")
        return site.module

    def _patterns(self) -> list[str]:
        return [pattern.strip() for pattern in self.names.split(",")]

    def _apply(self, model: nn.Module, head: tuple[str, ...]) -> None:
        freeze(
            model,
            self.condition,
            head=head or "auto",
            names=self._patterns(),
            count=self.count,
            seed=self.seed,
        )
        keep_statistics(model, self.statistics == "keep")


_STATISTICS = {False: "running statistics move in training", True: "running statistics are kept in training"}
_WORDS: Mapping[bool | None, str] = {True: "trains", False: "frozen", None: "trains in part"}


def _trains(model: nn.Module) -> dict[str, bool | None]:
    """For every module with parameters of its own: whether they train; None where some do and some do not."""
    masks = subset_masks(model)
    found: dict[str, bool | None] = {}
    for path, module in model.named_modules():
        if ".parametrizations" in f".{path}":
            continue
        states = {parameter.requires_grad for parameter in module.parameters(recurse=False)}
        if path in masks:
            states = {None}
        if states:
            found[path] = states.pop() if len(states) == 1 else None
    return found
