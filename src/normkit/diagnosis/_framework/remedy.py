"""What helps against a pathology: a rule of `normkit.convert`, or a line of advice where no rule can do it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["KINDS", "Remedy", "applicable", "by_rule"]

KINDS = ("exact", "calibrated", "fresh", "advice")
"""In order of cost: same function · needs data · needs training · only a person can do it."""


@dataclass(frozen=True)
class Remedy:
    """One way out.

    Attributes:
        to: slugs of the rules of `normkit.convert`, applied in order; or the name of a piece of advice.
        kind: one of `KINDS`.
        python: the line of Python that does it; `model` and `data` are the reader's.
        shell: the line of shell that does it, empty where no command can.
    """

    to: tuple[str, ...]
    kind: str
    python: str
    shell: str = ""

    @property
    def name(self) -> str:
        """The rules as `normkit convert --to` and `normkit diagnose --remedy` take them: joined by commas."""
        return ",".join(self.to)

    def for_model(self, arguments: str, data: str = "") -> "Remedy":
        """The same with the reader's own `--model …` and `--data …` in the line of shell."""
        shell = self.shell.replace(_MODEL, arguments or _MODEL).replace(_DATA, data or _DATA)
        return replace(self, shell=shell)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"to": self.name, "kind": self.kind, "python": self.python, "shell": self.shell}


_MODEL = "--model package.module:function"
_DATA = "--data package.module:loader"


def by_rule(*to: str) -> Remedy | None:
    """The remedy that applies the rules `to` in this order; None where normkit has no rule of one of these names."""
    from normkit.conversion import rules

    known = rules()
    if any(slug not in known for slug in to):
        return None
    kind = max((known[slug].kind for slug in to), key=KINDS.index)
    names = repr(to[0]) if len(to) == 1 else repr(list(to))
    python = f"model = normkit.convert(model, {names.replace(chr(39), chr(34))}, data=data).model"
    if kind == "exact":
        python = python.replace("data=data", "example=example")
    return Remedy(to, kind, python, f"normkit convert {_MODEL} {_DATA} --to {','.join(to)} --out converted")


def applicable(wanted: Sequence[tuple[str, ...]]) -> tuple[Remedy, ...]:
    """Those of `wanted` for which there are rules, in order of cost; equal costs stay in the order given."""
    found = [remedy for to in wanted if (remedy := by_rule(*to))]
    return tuple(sorted(found, key=lambda remedy: KINDS.index(remedy.kind)))
