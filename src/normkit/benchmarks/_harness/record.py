"""One row of the result: the JSON object of one variant in one setting against one peer."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Record", "Status", "is_ours"]

Status = Literal["ok", "skipped", "wrong", "noisy"]


def is_ours(variant: str) -> bool:
    """Whether a variant is normkit's: `normkit` itself or `normkit/<kernel>`."""
    return variant.partition("/")[0] == "normkit"


@dataclass(frozen=True)
class Record:
    """What was measured of one variant in one scene.

    Times are nanoseconds per call. `clock` says what was timed: the `thread`'s CPU time, the `wall` clock, the
    `device`'s own time, or on a GPU besides the `host`: the latency of a call that waits for nothing. `bytes` are the
    necessary bytes of a call, `gbps` those over the median time in 10⁹ bytes a second, `copy_fraction` the median
    over rounds of this rate over the rate of an ordinary copy in the same round. `ratio_median` is the time of the
    peer `ratio_to` over this variant's: above 1 this variant is faster (against `copy` it is the ratio of those
    rates); `ratio_ci` is its bootstrap 95 % interval. `max_ulp` is the largest error in units in the last place
    against float64. `bar` is the least ratio that the suite promises for such a row and `met` whether it was reached
    (None where none was promised or the row is too noisy to say that it was missed). A row that is `wrong` or
    `skipped` carries no times and says why in `reason`.

    Rows of `mode` `growth` are a `Growth`'s: `shape` is the size n, `clock` the CPU time of the `process`, `peak_bytes`
    the most that the call held. After them stands a row with the exponents, `shape` being all sizes that they were
    fitted to. `limits` are what these figures may be at most, by name, and `met` whether all of them are kept.
    """

    op: str
    variant: str
    shape: list[int]
    dtype: str
    threads: int
    mode: str
    cache: str
    output: str
    min_ns: float | None = None
    median_ns: float | None = None
    p10: float | None = None
    p90: float | None = None
    bytes: int | None = None
    gbps: float | None = None
    copy_fraction: float | None = None
    ratio_to: str | None = None
    ratio_median: float | None = None
    ratio_ci: list[float] | None = None
    max_ulp: float | None = None
    bar: float | None = None
    met: bool | None = None
    status: Status = "ok"
    reason: str = ""
    device: str = "cpu"
    clock: str | None = None
    peak_bytes: int | None = None
    time_exponent: float | None = None
    memory_exponent: float | None = None
    limits: dict[str, float] | None = None

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> "Record":
        """The record of a row of `bench`'s JSON.

        Raises:
            ValueError: the row lacks a key or has one that records do not have.
        """
        try:
            return cls(**row)
        except TypeError as error:
            raise ValueError(f"a row is not one of `normkit bench --json`: {error}") from None

    @property
    def ours(self) -> bool:
        """Whether this is a row of normkit's, not of a peer or a copy."""
        return is_ours(self.variant)

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes two rows of two runs comparable: everything but the measurement and the machine's caches."""
        return (
            self.op,
            self.variant,
            tuple(self.shape),
            self.dtype,
            self.threads,
            self.mode,
            self.output,
            self.device,
            self.clock == "host",
            self.ratio_to,
        )

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON has it."""
        return asdict(self)
