"""The branches of a Pre-LN block by their writers: where an output norm would stand, and what it would look like."""

from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from normkit.conversion._framework.rule import Refusal, Site
from normkit.surgery import SubLayer, is_vector_norm, residuals, submodule

__all__ = ["Branch", "Branches", "branches", "is_block"]

_WANTED = "a sum x + M(norm(x)) of the stream and of what a linear map made of it"


@dataclass(frozen=True)
class Branch:
    """One writer of a block.

    Attributes:
        writer: path, within the block, of the module whose output is added to the stream.
        norm: name that its output norm gets in the block.
        like: path, within the network, of the norm at the branch's input.
        width: length of the vectors that it writes.
    """

    writer: str
    norm: str
    like: str
    width: int


@dataclass(frozen=True)
class Branches:
    """The branches of one block; `starts` where the stream comes into it from an embedding that no norm follows."""

    branches: tuple[Branch, ...]
    starts: bool

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, for the recipe."""
        return asdict(self)

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "Branches":
        """The inverse of `to_dict`."""
        return cls(tuple(Branch(**one) for one in saved["branches"]), saved["starts"])


def is_block(site: Site) -> bool:
    """Whether a module may be a block: an element of a list, or the whole, with a norm and a matrix, no block inside.

    What it is for certain is seen when it runs.
    """
    if site.path and not site.path.rpartition(".")[2].isdigit():
        return False
    if not _holds_both(site.module):
        return False
    inner = ((path, module) for path, module in site.module.named_modules() if path.rpartition(".")[2].isdigit())
    return not any(_holds_both(module) for _, module in inner)


def branches(site: Site) -> Branches:
    """The branches of the block at a site.

    Raises:
        Refusal: the flow was not observed, no residual sum is made there, the norms do not stand as in Pre-LN, or
            what is added does not come from one module of the block alone; the reason says which.
    """
    if site.flow is None or not any(step.shapes for step in site.flow.steps):
        raise Refusal("where the stream flows must be seen: pass example= (an input) or data=")
    found = residuals(site.model, site.flow)
    path = site.flow.canonical.get(site.path, site.path)
    layers = found.of(path)
    if not layers:
        raise Refusal(f"it is no block of a residual stream: {_WANTED} was looked for, and none is made in it")
    for layer in layers:
        _require_pre(layer.placement)
    sums = {layer.sum for layer in found.layers}
    origin = site.flow.steps[layers[0].stream]
    starts = origin.index not in sums and (origin.path or origin.name) not in found.starts
    writers = [(index, layer) for layer in layers for index in layer.branches]
    made = (_branch(site, path, index, layer, place) for place, (index, layer) in enumerate(writers, 1))
    return Branches(tuple(made), starts)


def _require_pre(placement: str) -> None:
    if "post" in placement:
        raise Refusal(
            "it is Post-LN: its norm stands on the stream itself, behind the sum, so the residual is on the wrong side "
            "and no norm at a branch's output makes it Peri-LN"
        )
    if "unknown" in placement:
        raise Refusal(
            "its branches end in norms, with something behind these (a gate, a choice, a function): whether it is "
            "Peri-LN already cannot be told"
        )
    if placement == "peri":
        raise Refusal("it is Peri-LN already: its branches end in norms")
    if placement == "output":
        raise Refusal("its norms stand at the outputs alone (as in OLMo 2): what its branches write is normalised")
    if placement == "none":
        raise Refusal("no norm reads its stream: it is no Pre-LN block")


def _branch(site: Site, path: str, index: int, layer: SubLayer, place: int) -> Branch:
    assert site.flow is not None
    step = site.flow.steps[index]
    if step.kind != "module":
        raise Refusal(f"what it adds comes from the function {step.name}, not from a module that could be normed")
    writer = submodule(site.model, step.path)
    if path and not f"{step.path}.".startswith(f"{path}."):
        raise Refusal(f"what it adds comes from {step.path}, which does not stand in it")
    if len(site.flow.calls(step.path)) > 1:
        raise Refusal(f"{step.path} writes to the stream in several places: its output norm would be one for all")
    if layer.into[0] not in site.flow.canonical:
        raise Refusal("the norm that reads its stream is written out as functions: no module says how it is made")
    like = submodule(site.model, layer.into[0])
    if isinstance(writer, nn.modules.conv._ConvNd) or not _over_last_axis(like):
        raise Refusal(f"{layer.into[0]} is a {type(like).__name__} and {step.path} a {type(writer).__name__}: "
                      "only norms over the last axis are known here")  # fmt: skip
    name = f"norm{place}_out"
    if getattr(site.module, name, None) is not None:
        raise Refusal(f"it has a {name} already, the name that its output norm would get")
    relative = step.path.removeprefix(f"{path}.") if path else step.path
    return Branch(relative, name, layer.into[0], step.shapes[0][-1])


def _over_last_axis(norm: nn.Module) -> bool:
    return not isinstance(norm, (nn.GroupNorm, nn.modules.batchnorm._NormBase))


def _holds_both(module: nn.Module) -> bool:
    parts = list(module.modules())
    matrices = any(parameter.ndim >= 2 for part in parts for parameter in part.parameters(recurse=False))
    return matrices and any(is_vector_norm(part) for part in parts if part is not module)
