"""A claim: a sentence, a bound and a measured figure; whether it holds is computed here and nowhere else."""

from dataclasses import dataclass
from typing import Any

__all__ = ["Claim", "Ledger"]

_SIGNS = {"at_most": "≤", "at_least": "≥", "equals": "="}


@dataclass(frozen=True)
class Claim:
    """One claim of a paper as measured.

    `bound` has one key: `at_most`, `at_least`, `equals`, or `between` with [low, high] (ends included). `holds` is
    None where the claim was not judged, and `reason` then says why. A figure that is NaN holds no bound.
    """

    statement: str
    bound: dict[str, Any]
    measured: float | int | bool | str | None
    n: int
    holds: bool | None
    reason: str | None
    source: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "statement": self.statement,
            "bound": dict(self.bound),
            "measured": self.measured,
            "n": self.n,
            "holds": self.holds,
            "reason": self.reason,
            "source": self.source,
        }

    @property
    def verdict(self) -> str:
        """`holds`, `fails` or `not judged`."""
        return {True: "holds", False: "fails", None: "not judged"}[self.holds]

    @property
    def bound_text(self) -> str:
        """The bound for a table: `≤ 0.03`, `0.5 … 2`."""
        ((kind, value),) = self.bound.items()
        if kind == "between":
            return f"{figure(value[0])} … {figure(value[1])}"
        return f"{_SIGNS[kind]} {figure(value)}"

    @property
    def measured_text(self) -> str:
        """The figure for a table; a dash where nothing was measured."""
        return "–" if self.measured is None else figure(self.measured)


class Ledger:
    """The `claim` of a judge: `claim(statement, measured, at_most=…, source=…)` enters it and computes `holds`."""

    def __init__(self, scale: str, seeds: int) -> None:
        self.scale = scale
        self.seeds = seeds
        self.claims: list[Claim] = []

    def __call__(
        self,
        statement: str,
        measured: float | int | bool | str | None = None,
        *,
        at_most: float | int | None = None,
        at_least: float | int | None = None,
        between: tuple[float | int, float | int] | None = None,
        equals: float | int | bool | str | None = None,
        source: str,
        n: int | None = None,
        reason: str | None = None,
    ) -> Claim:
        """Enter a claim with exactly one bound.

        Args:
            statement: what is claimed, with the unit of the figure.
            measured: the figure; None only together with `reason`, or at smoke scale.
            at_most: the bound, where the figure may not be larger; one of these four is given.
            at_least: the bound, where it may not be smaller.
            between: the bounds (low, high), ends included.
            equals: the value that it must have.
            source: where the bound comes from (paper and section or table, or the size it was measured at).
            n: how many observations stand behind the figure; default the number of seeds, 0 without a figure.
            reason: why the claim is not judged here; `holds` is then None whatever was measured.

        Raises:
            ValueError: no bound or several, or neither a figure nor a reason.
        """
        given = {"at_most": at_most, "at_least": at_least, "between": between, "equals": equals}
        bound: dict[str, Any] = {kind: value for kind, value in given.items() if value is not None}
        if len(bound) != 1:
            raise ValueError(f"claim {statement!r} needs one of at_most, at_least, between, equals; got {len(bound)}")
        if between is not None:
            bound["between"] = list(between)
        if self.scale == "smoke" and reason is None:
            reason = "smoke scale: the whole way runs, nothing is judged"
        if measured is None and reason is None:
            raise ValueError(f"claim {statement!r} has neither a measured figure nor a reason why there is none")
        holds = None if reason is not None else _within(bound, measured)
        observations = 0 if measured is None else self.seeds if n is None else n
        claim = Claim(statement, bound, measured, observations, holds, reason, source)
        self.claims.append(claim)
        return claim


def figure(value: Any) -> str:
    """A figure to four significant digits; booleans as yes and no."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _within(bound: dict[str, Any], measured: Any) -> bool:
    ((kind, value),) = bound.items()
    if kind == "at_most":
        return bool(measured <= value)
    if kind == "at_least":
        return bool(measured >= value)
    if kind == "between":
        return bool(value[0] <= measured <= value[1])
    return bool(measured == value)
