"""How a record reads: its setting, its time, its ratio and the bar beside it, for the page and the terminal alike."""

import math

from normkit.benchmarks._harness.record import Record
from normkit.benchmarks._harness.table import Table

__all__ = ["GROWTH_HEAD", "bar", "duration", "grown", "growth_line", "ratio", "reasons", "setting", "shape", "size"]
__all__ += ["verdicts", "views"]

GROWTH_HEAD = ("variant", "n", "time", "memory", "against", "ratio", "bar")
"""The columns of how cost grows; an exponent stands in a last line of each variant."""


def duration(nanoseconds: float | None) -> str:
    """A time with the unit that makes it readable."""
    if nanoseconds is None:
        return "–"
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds:.3g} ns"


def size(number: int | None) -> str:
    """Bytes with the unit that makes them readable."""
    if number is None:
        return "–"
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if number >= scale:
            return f"{number / scale:.3g} {unit}"
    return f"{number} B"


def ratio(record: Record, *, interval: bool = True) -> str:
    """The ratio and its 95 % interval, or in short; the status of a row that has none."""
    if record.ratio_median is None or record.ratio_ci is None:
        return record.status if record.status != "ok" else "–"
    noisy = record.status == "noisy"
    if not interval:
        return f"{record.ratio_median:.2f}{'~' if noisy else ''}"
    low, high = record.ratio_ci
    return f"{record.ratio_median:.2f} ({low:.2f}–{high:.2f}){' noisy' if noisy else ''}"


def bar(record: Record) -> str:
    """The ratio, or the limits, that were promised and whether they were kept; empty where there are none."""
    said = {True: "met", False: "MISSED", None: "not judged"}[record.met]
    if record.limits:
        return f"{_limits(record.limits)} {said}"
    return "" if record.bar is None else f"≥{record.bar:.2f} {said}"


def _limits(limits: dict[str, float]) -> str:
    wordings = {
        "time_exponent": lambda most: f"time ≤n^{most:.2f}",
        "memory_exponent": lambda most: f"memory ≤n^{most:.2f}",
        "peak_bytes": lambda most: f"≤{size(int(most))}",
    }
    return ", ".join(wordings[name](most) for name, most in limits.items())


def shape(record: Record) -> str:
    """Sizes with a cross between them."""
    return "×".join(map(str, record.shape))


def setting(record: Record) -> str:
    """Direction, memory, threads or the device and, where it is not float32, dtype."""
    case = "" if record.dtype == "float32" else f", {record.dtype}"
    where = f"{record.threads} thread{'s' * (record.threads > 1)}" if record.device == "cpu" else record.device
    return f"{record.mode}, {record.output}, {where}{case}"


def views(table: Table) -> list[tuple[str, list[Record]]]:
    """The rows to show: the public function as a network calls it, then all else of ours and what is not right."""
    timed = [record for record in table if record.clock != "host" and record.mode != "growth"]
    rest = [record for record in timed if record.mode != "fwd+bwd"]
    every = [
        ("As a network calls it", [each for each in timed if each.variant == "normkit" and each.mode == "fwd+bwd"]),
        ("Kernel by kernel", [each for each in rest if each.ours or each.status in ("wrong", "skipped")]),
        ("What the host takes to call the GPU", [each for each in table if each.clock == "host" and _small(each)]),
    ]
    return [(title, records) for title, records in every if records]


def grown(table: Table) -> list[Record]:
    """The rows of how cost grows: of each call the variants one after the other, by size, the exponents last."""
    rows = [record for record in table if record.mode == "growth"]
    return sorted(rows, key=lambda row: (row.op, not row.ours, row.variant, len(row.shape), row.shape))


def growth_line(record: Record) -> tuple[str, ...]:
    """A row under `GROWTH_HEAD`."""
    if record.time_exponent is None:
        costs = duration(record.median_ns), size(record.peak_bytes)
    else:
        costs = _power(record.time_exponent), _power(record.memory_exponent)
    # An exponent belongs to the range that it was fitted to.
    sizes = " to ".join(map(str, dict.fromkeys((record.shape[0], record.shape[-1]))))
    return record.variant, sizes, *costs, record.ratio_to or "–", ratio(record), bar(record)


def _power(exponent: float | None) -> str:
    return "–" if exponent is None else f"n^{exponent:.2f}"


def _small(record: Record) -> bool:
    """Ours, and of a call so small that this is what it costs."""
    return record.ours and math.prod(record.shape) <= 2**16


def verdicts(table: Table) -> str:
    """How many bars were met, and which were not; empty where there are none."""
    judged = [record for record in table if record.bar is not None or record.limits]
    if not judged:
        return ""
    missed = [record for record in judged if record.met is False]
    noisy = sum(record.met is None for record in judged)
    said = f"bars: {len(judged) - len(missed) - noisy} met, {len(missed)} missed, {noisy} too noisy to judge"
    return said + "".join(f"\n  missed: {_missed(record)}" for record in missed)


def _missed(record: Record) -> str:
    if record.limits:
        _, sizes, *costs = growth_line(record)[:4]
        return f"{record.op}, n = {sizes}: {', '.join(costs)}, wanted {_limits(record.limits)}"
    return (
        f"{record.op} {shape(record)} ({setting(record)}) {record.variant} against {record.ratio_to}: "
        f"{record.ratio_median:.2f}, wanted {record.bar:.2f}"
    )


def reasons(table: Table) -> list[str]:
    """Why rows are missing."""
    left_out = {(record.op, record.variant, record.reason) for record in table if record.status in ("wrong", "skipped")}
    return [f"{op}, {variant}: {reason}" for op, variant, reason in sorted(left_out)]
