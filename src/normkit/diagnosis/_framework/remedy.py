"""What helps against a pathology: a rule of `normkit.convert`, or a line of advice where no rule can do it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from normkit.diagnosis._framework.context import Context

__all__ = ["KINDS", "Remedy", "applicable", "by_rule", "convertible"]

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


def convertible(remedies: Sequence[Remedy], context: Context) -> tuple[tuple[Remedy, ...], str]:
    """Those of `remedies` of which every rule would change something in this model, and why not the last if none."""
    from normkit.conversion import rules

    slugs = dict.fromkeys(slug for remedy in remedies for slug in remedy.to if slug in rules())
    refusals = {slug: _refusal(slug, context) for slug in slugs}  # what is no rule is advice, and stays
    found = tuple(remedy for remedy in remedies if not any(refusals.get(slug) for slug in remedy.to))
    return found, "" if found else next(filter(None, reversed(refusals.values())), "")


def _refusal(slug: str, context: Context) -> str:
    """Why `convert` would change nothing in the model by this rule; empty where it would."""
    from normkit.conversion import convert
    from normkit.training import inputs_of

    try:
        plan = convert(context.model, slug, example=inputs_of(context.example), dry_run=True)
    except (ValueError, TypeError, RuntimeError) as error:
        return " ".join(str(error).split())
    if plan.changes:
        return ""
    return str(plan.skipped[0]["reason"]) if plan.skipped else f"{slug} finds nothing to change"
