"""What a rule is: one site in, one module out, or the reason why not."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from torch import nn

from normkit.listing import meant, modules
from normkit.surgery import Flow, Step, paths

if TYPE_CHECKING:
    from normkit.conversion._framework.pairs import Pairs

__all__ = ["Calibrated", "Change", "Kind", "Refusal", "Rule", "Site", "resolve", "rule_from", "rules"]

Kind = Literal["exact", "calibrated", "fresh"]


class Refusal(Exception):  # noqa: N818 - an answer of a rule, never an error of the user
    """A rule raises it for a site that it cannot convert; the message is the reason that the user reads."""


@dataclass(frozen=True)
class Change:
    """One change in the network: where, what it was, what it is now, and why."""

    path: str
    before: str
    after: str
    why: str

    def to_dict(self) -> dict[str, str]:
        """The change as JSON has it: `path`, `from`, `to`, `why`."""
        return {"path": self.path, "from": self.before, "to": self.after, "why": self.why}


@dataclass
class Site:
    """A place in a network that a rule may convert.

    Attributes:
        path: the first path at which the module stands (`""` is the network itself).
        module: the module there.
        model: the whole network, which the rule may read and, inside `replacement`, change.
        flow: who reads whose output; None where neither an example nor torch.fx could tell.
        details: what `Rule.survey` found out, JSON-able; kept in the recipe so that a replay needs no flow.
        changes: what the rule did besides putting its module at `path`.
        why: what the change at `path` does, where that is not what the rule says in general.
    """

    path: str
    module: nn.Module
    model: nn.Module
    flow: Flow | None = None
    details: dict[str, Any] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    why: str = ""

    def followers(self) -> list[Step]:
        """The steps that read this module's output.

        Raises:
            Refusal: the data flow is not known, or the module never runs.
        """
        self._seen()
        assert self.flow is not None
        return self.flow.followers(self.path)

    def producers(self) -> list[Step]:
        """The steps whose output this module reads; raises as `followers` does."""
        self._seen()
        assert self.flow is not None
        return self.flow.producers(self.path)

    def _seen(self) -> None:
        if self.flow is None:
            raise Refusal("who reads its output is not known: torch.fx cannot trace the model; pass example= or data=")
        if not self.flow.calls(self.path):
            raise Refusal("it never runs in a forward pass, so what stands around it is not known")

    def note(self, path: str, before: object, after: object, why: str) -> None:
        """Record a change at `path`; modules are named by their class."""
        self.changes.append(Change(path, _name(before), _name(after), why))

    def inside(self, name: str) -> str:
        """The full path of the sub-module `name` of this site."""
        return f"{self.path}.{name}".lstrip(".")

    def shared_outside(self, module: nn.Module) -> str | None:
        """A path outside this site at which `module` stands as well, or None."""
        homes = paths(self.model, self.module)
        for place in paths(self.model, module):
            if not any(home == "" or place == home or place.startswith(f"{home}.") for home in homes):
                return place
        return None


def _name(thing: object) -> str:
    return type(thing).__name__ if isinstance(thing, nn.Module) else str(thing)


@dataclass(frozen=True)
class Rule:
    """A way to convert one kind of site; a frozen dataclass that carries every choice.

    A rule stands alone in a module of `normkit.conversion`, where it is found by listing. `matches` says which modules
    it is about, `survey` reads the network around one of them and says what will be done, `replacement` does it. Both
    raise `Refusal`, with the reason, for a site that cannot be converted, and leave the network as it was then.

    Class attributes:
        slug: the rule's name for `convert(model, "slug")`.
        kind: what it promises: `"exact"` (same function, verified), `"calibrated"` (fitted on data), `"fresh"`.
        why: what the change does, for the report.
        about: what `matches` looks for, in words.
        chooses_what_trains: whether `requires_grad` is what the rule changes; all others keep it.
    """

    slug: ClassVar[str] = ""
    kind: ClassVar[Kind] = "exact"
    why: ClassVar[str] = ""
    about: ClassVar[str] = "modules"
    chooses_what_trains: ClassVar[bool] = False

    @property
    def promise(self) -> Kind:
        """The kind of result with these options."""
        return self.kind

    @property
    def remark(self) -> str:
        """What must be known before the converted network is trained or used, in a sentence; `""` for nothing."""
        return ""

    @property
    def options(self) -> dict[str, Any]:
        """The options as JSON has them."""
        return asdict(self)

    def matches(self, site: Site) -> bool:
        """Whether the rule is about this module (whether it can convert it is `survey`'s to say)."""
        raise NotImplementedError

    def survey(self, site: Site) -> dict[str, Any]:
        """What must be known of the surroundings to convert the site, JSON-able; raises `Refusal` if it cannot be."""
        return {}

    def replacement(self, site: Site, pairs: "Pairs | None") -> nn.Module:
        """The module that takes the site's place (the same one, where it was changed within).

        `pairs` yields inputs of the new module and outputs of the old one; None where only the structure is wanted,
        in a dry run, a replay, or a `fresh` conversion.
        """
        raise NotImplementedError

    def example(self, model: nn.Module, seed: int) -> Any:
        """An example input made from what the model says of itself, for models converted without any; else None."""
        return None


@dataclass(frozen=True)
class Calibrated(Rule):
    """A rule whose new layers are fitted on data.

    Args:
        fit: fit statistics and affine parameters so that the network's function is kept as well as it can be
            (needs `data`); with False they start where the old layer's values put them, and training must follow.

    Raises:
        TypeError: `fit` is no bool.
    """

    kind: ClassVar[Kind] = "calibrated"
    fit: bool = True

    def __post_init__(self) -> None:
        """Options are checked where they are given, not at each site (a subclass calls this first)."""
        if not isinstance(self.fit, bool):
            raise TypeError(f"{type(self).__name__}: fit is True or False, got {self.fit!r}")

    @property
    def promise(self) -> Kind:
        """`"calibrated"`, or `"fresh"` with `fit=False`."""
        return "calibrated" if self.fit else "fresh"


@cache
def rules() -> dict[str, type[Rule]]:
    """Every rule by its slug, found by listing the modules of `normkit.conversion`."""
    found: dict[str, type[Rule]] = {}
    for module in modules("normkit.conversion"):
        for value in vars(module).values():
            if (
                isinstance(value, type)
                and issubclass(value, Rule)
                and value.__module__ == module.__name__
                and value.slug
            ):
                found[value.slug] = value
    return dict(sorted(found.items()))


def resolve(to: Rule | str | Iterable[Any]) -> list[Rule]:
    """`to` as a list of rules.

    Raises:
        ValueError: a slug is not known (names those that are), or the list is empty.
        TypeError: an entry is neither a rule nor a slug.
    """
    entries = list(to) if isinstance(to, Iterable) and not isinstance(to, str) else [to]
    if not entries:
        raise ValueError(f"to= is empty: give a rule or one of {', '.join(rules())}")
    return [_rule(entry) for entry in entries]


def _rule(entry: object) -> Rule:
    if isinstance(entry, Rule):
        return entry
    if isinstance(entry, str):
        if entry not in rules():
            raise ValueError(f"there is no rule {entry!r}: {meant(entry, rules())}")
        return rules()[entry]()
    hint = f": write {entry.__name__}()" if isinstance(entry, type) and issubclass(entry, Rule) else ""
    raise TypeError(f"to= takes rules of normkit.conversion or their slugs, got {entry!r}{hint}")


def rule_from(slug: str, options: dict[str, Any]) -> Rule:
    """The rule of that slug with these options, as a recipe or a command line names them.

    Raises:
        ValueError: this version of normkit has no such rule, or the rule no such option; names those that there are.
        ValueError, TypeError: as the rule itself says of its options.
    """
    kind = type(_rule(slug))
    known = [entry.name for entry in fields(kind)]
    unknown = set(options) - set(known)
    if unknown:
        there = f"it has {', '.join(known)}" if known else "it has none"
        raise ValueError(f"the rule {slug!r} has no option {', '.join(sorted(unknown))}: {there}")
    return kind(**options)
