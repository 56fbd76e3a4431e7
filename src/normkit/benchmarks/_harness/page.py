"""The table for people: the roofline, the page, the lines on the terminal."""

import math
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from normkit.benchmarks._harness.record import Record
from normkit.benchmarks._harness.table import Change, Table
from normkit.benchmarks._harness.tune import Tuned
from normkit.data.files import atomic, write_atomically
from normkit.report import COLORS, Report, new_figure, svg

__all__ = ["page", "print_changes", "print_table", "print_tuned", "roofline", "write_figure"]

_SETTING = ("op", "variant", "shape", "threads", "mode", "output")
_HEAD = (*_SETTING, "time", "GB/s", "of copy", "against", "ratio", "ULP")
_LEGEND = "ratio: the peer's time over ours, median of paired rounds and its 95 % interval; above 1 we are faster"


def users_view(table: Table) -> list[Record]:
    """The public function as a network calls it: forward and backward, all threads, fresh memory."""
    return [record for record in table if record.variant == "normkit" and record.mode == "fwd+bwd"]


def kernels_view(table: Table) -> list[Record]:
    """Every other row of normkit's own, and every row that is not `ok`."""
    rest = [record for record in table if record.mode != "fwd+bwd"]
    return [record for record in rest if record.ours or record.status in ("wrong", "skipped")]


def duration(nanoseconds: float | None) -> str:
    """A time with the unit that makes it readable."""
    if nanoseconds is None:
        return "–"
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds:.3g} ns"


def _ratio(record: Record) -> str:
    if record.ratio_median is None or record.ratio_ci is None:
        return record.status if record.status != "ok" else "–"
    low, high = record.ratio_ci
    noisy = " noisy" if record.status == "noisy" else ""
    return f"{record.ratio_median:.2f} ({low:.2f}–{high:.2f}){noisy}"


def _row(record: Record) -> tuple[str, ...]:
    return (
        record.op,
        record.variant,
        "×".join(map(str, record.shape)),
        str(record.threads),
        record.mode,
        record.output,
        duration(record.median_ns),
        "–" if record.gbps is None else f"{record.gbps:.1f}",
        "–" if record.copy_fraction is None else f"{record.copy_fraction:.2f}",
        record.ratio_to or "–",
        _ratio(record),
        "–" if record.max_ulp is None else f"{record.max_ulp:.3g}",
    )


def print_table(table: Table, console: Console) -> None:
    """Print the user's view, then the kernels' view, then what was left out and why."""
    for title, records in (("As a network calls it", users_view(table)), ("Kernel by kernel", kernels_view(table))):
        if records:
            shown = RichTable(*_HEAD, title=title, title_justify="left")
            for record in records:
                shown.add_row(*_row(record))
            console.print(shown)
    for reason in _reasons(table):
        console.print(reason)
    console.print(_LEGEND)


def print_changes(changes: Iterable[Change], console: Console) -> None:
    """Print how the ratios moved since another run."""
    shown = RichTable(*_SETTING, "against", "before", "after", "", title="Since then")
    for change in changes:
        row = _row(change.record)
        mark = "regression" if change.regression else ""
        shown.add_row(*row[:6], row[9], f"{change.before:.2f}", f"{change.after:.2f}", mark)
    console.print(shown)


def print_tuned(found: Iterable[Tuned], console: Console) -> None:
    """Print what `tune` found of each threshold."""
    shown = RichTable("threshold", "now", "best seen", "gain", "threads", title="Thresholds of the native softmax")
    for each in found:
        shown.add_row(each.name, str(each.value), str(each.best), f"{each.gain:.2f}", str(each.threads))
    console.print(shown)
    console.print("gain: speed over the present value; below 1.03 leave it. The table is native/core/softmax.hpp.")


def _reasons(table: Table) -> list[str]:
    left_out = {(record.op, record.variant, record.reason) for record in table if record.status in ("wrong", "skipped")}
    return [f"{op}, {variant}: {reason}" for op, variant, reason in sorted(left_out)]


def page(table: Table) -> Report:
    """The page `report.html`: the two views, the roofline, the machine."""
    report = Report(
        "How fast",
        "Ratios are a peer's time over ours, the median of interleaved rounds with a bootstrap 95 % interval: "
        "above 1 normkit is faster. A row that was not right was not timed.",
    )
    for title, records in (("As a network calls it", users_view(table)), ("Kernel by kernel", kernels_view(table))):
        if records:
            report.heading(title)
            report.table(_HEAD, [_row(record) for record in records])
    for reason in _reasons(table):
        report.note("info", reason)
    report.heading("How near the machine's own speed")
    alt = "Rate of necessary bytes over working set; dots are normkit and its peers, the lines are the copies."
    report.figure(roofline(table), "Necessary bytes per second, forward, against the copies of the same rounds.", alt)
    report.heading("The machine")
    report.table(("", ""), [(name, value) for name, value in table.machine.items()])
    return report


def roofline(table: Table) -> Any:
    """Rate of necessary bytes (GB/s) over the size of the input, forward, one thread, with the copies as the roof."""
    figure, axes = new_figure(7.2, 4.2)
    rows = [record for record in table if record.mode == "fwd" and record.gbps is not None and record.threads == 1]
    rows = [record for record in rows if record.dtype == "float32"]
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
