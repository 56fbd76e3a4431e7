"""A mean with its 95 % interval, for the few runs that an experiment can afford."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from scipy.stats import t as student

__all__ = ["Interval", "interval"]


@dataclass(frozen=True)
class Interval:
    """A mean over runs and the ends of its 95 % interval; None where one run says nothing of the spread."""

    mean: float
    low: float | None
    high: float | None

    def to_dict(self) -> dict[str, float | None]:
        """`{"mean", "low", "high"}`."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.mean:.3f}" if self.high is None else f"{self.mean:.3f} ± {self.high - self.mean:.3f}"


def interval(values: Sequence[float]) -> Interval:
    """Mean ± t₀.₉₇₅(n−1)·s/√n: Student's interval, exact for normal runs and wide, as it must be, for three of them.

    Raises:
        ValueError: no values.
    """
    count = len(values)
    if count == 0:
        raise ValueError("an interval needs at least one run")
    mean = math.fsum(values) / count
    if count == 1:
        return Interval(mean, None, None)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    half = float(student.ppf(0.975, count - 1)) * deviation / math.sqrt(count)
    return Interval(mean, mean - half, mean + half)
