"""The page for people and its roofline."""

import math
from pathlib import Path
from statistics import median
from typing import Any

from normkit.benchmarks._harness.record import Record
from normkit.benchmarks._harness.table import Table
from normkit.benchmarks._harness.wording import (
    GROWTH_HEAD,
    bar,
    duration,
    grown,
    growth_line,
    ratio,
    reasons,
    setting,
    shape,
    verdicts,
    views,
)
from normkit.data.files import atomic, write_atomically
from normkit.report import COLORS, Report, new_figure, svg

__all__ = ["page", "roofline", "write_figure"]

_HEAD = ("operation", "variant", "shape", "how", "time", "of copy", "against", "ratio", "bar", "ULP")


def _row(record: Record) -> tuple[str, ...]:
    return (
        record.op,
        record.variant,
        shape(record),
        setting(record),
        duration(record.median_ns),
        "–" if record.copy_fraction is None else f"{record.copy_fraction:.2f}",
        record.ratio_to or "–",
        ratio(record),
        bar(record) or "–",
        "–" if record.max_ulp is None else f"{record.max_ulp:.3g}",
    )


def page(table: Table) -> Report:
    """The page `report.html`: the two views, the roofline, the machine."""
    report = Report(
        "How fast",
        "Ratios are a peer's time over ours, the median of interleaved rounds with a bootstrap 95 % interval: "
        "above 1 normkit is faster. A row that was not right was not timed.",
    )
    for title, records in views(table):
        report.heading(title)
        report.table(_HEAD, map(_row, records))
    if rows := grown(table):
        report.heading("How the cost grows")
        report.table(("call", *GROWTH_HEAD), [(row.op, *growth_line(row)) for row in rows])
    if said := verdicts(table):
        report.note("info", said)
    for reason in reasons(table):
        report.note("info", reason)
    report.heading("How near the machine's own speed")
    alt = "Rate of necessary bytes over working set; dots are normkit and its peers, the lines are the copies."
    report.figure(roofline(table), "Necessary bytes per second, forward, against the copies of the same rounds.", alt)
    report.heading("The machine")
    report.table(("", ""), [(name, value) for name, value in table.machine.items()])
    return report


def roofline(table: Table) -> Any:
    """Rate of necessary bytes (GB/s) over the size of the input, forward, with the copies as the roof.

    Of one thread of the processor, or of the GPU where that alone was measured.
    """
    device = "cuda" if table.device == "cuda" else "cpu"
    figure, axes = new_figure(7.2, 4.2)
    rows = [record for record in table if record.mode == "fwd" and record.gbps is not None and record.threads == 1]
    rows = [record for record in rows if record.dtype == "float32" and record.device == device]
    roofs = [record for record in rows if record.variant.startswith("copy")]
    for variant, color in (("copy", COLORS["muted"]), ("copy/streaming", COLORS["watch"])):
        _line(axes, [record for record in roofs if record.variant == variant], variant, color)
    _dots(axes, [record for record in rows if record.variant == "normkit"], "normkit", COLORS["after"])
    _dots(axes, [record for record in rows if record.variant == "torch"], "torch", COLORS["before"])
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("elements of the input")
    axes.set_ylabel("necessary bytes, GB/s")
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
    return figure


def _points(records: list[Record]) -> list[tuple[int, float]]:
    return sorted({(math.prod(record.shape), record.gbps) for record in records if record.gbps is not None})


def _line(axes: Any, records: list[Record], label: str, color: str) -> None:
    """One line through the median rate at each size."""
    by_size: dict[int, list[float]] = {}
    for size, rate in _points(records):
        by_size.setdefault(size, []).append(rate)
    if by_size:
        axes.plot(list(by_size), [median(rates) for rates in by_size.values()], label=label, color=color)


def _dots(axes: Any, records: list[Record], label: str, color: str) -> None:
    points = _points(records)
    if points:
        axes.plot(*zip(*points, strict=True), "o", label=label, color=color, markersize=5)


def write_figure(figure: Any, folder: Path) -> None:
    """Write `roofline.svg` and `roofline.png` into `folder`."""
    write_atomically(folder / "roofline.svg", svg(figure).replace("currentColor", "#444"))
    with atomic(folder / "roofline.png") as path:
        figure.savefig(path, format="png", dpi=144, facecolor="white", transparent=False)
