"""How a record reads: its setting, its time, its ratio and the bar beside it, for the page and the terminal alike."""

import math

from normkit.benchmarks._harness.record import Record
from normkit.benchmarks._harness.table import Table

__all__ = ["bar", "duration", "ratio", "reasons", "setting", "shape", "verdicts", "views"]


def duration(nanoseconds: float | None) -> str:
    """A time with the unit that makes it readable."""
    if nanoseconds is None:
        return "–"
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds:.3g} ns"


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
    """The ratio that was promised and whether it was reached; empty where none was."""
    if record.bar is None:
        return ""
    said = {True: "met", False: "MISSED", None: "not judged"}[record.met]
    return f"≥{record.bar:.2f} {said}"


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
    timed = [record for record in table if record.clock != "host"]
    rest = [record for record in timed if record.mode != "fwd+bwd"]
    every = [
        ("As a network calls it", [each for each in timed if each.variant == "normkit" and each.mode == "fwd+bwd"]),
        ("Kernel by kernel", [each for each in rest if each.ours or each.status in ("wrong", "skipped")]),
        ("What the host takes to call the GPU", [each for each in table if each.clock == "host" and _small(each)]),
    ]
    return [(title, records) for title, records in every if records]


def _small(record: Record) -> bool:
    """Ours, and of a call so small that this is what it costs."""
    return record.ours and math.prod(record.shape) <= 2**16


def verdicts(table: Table) -> str:
    """How many bars were met, and which were not; empty where there are none."""
    judged = [record for record in table if record.bar is not None]
    if not judged:
        return ""
    missed = [record for record in judged if record.met is False]
    noisy = sum(record.met is None for record in judged)
    said = f"bars: {len(judged) - len(missed) - noisy} met, {len(missed)} missed, {noisy} too noisy to judge"
    return said + "".join(
        f"\n  missed: {each.op} {shape(each)} ({setting(each)}) {each.variant} against {each.ratio_to}: "
        f"{each.ratio_median:.2f}, wanted {each.bar:.2f}"
        for each in missed
    )


def reasons(table: Table) -> list[str]:
    """Why rows are missing."""
    left_out = {(record.op, record.variant, record.reason) for record in table if record.status in ("wrong", "skipped")}
    return [f"{op}, {variant}: {reason}" for op, variant, reason in sorted(left_out)]
