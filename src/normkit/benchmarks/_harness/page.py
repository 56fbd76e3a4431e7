"""The table for people: the roofline, the page, the lines on the terminal."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable

from normkit.benchmarks._harness.record import Record
from normkit.benchmarks._harness.table import Change, Table
from normkit.benchmarks._harness.tune import Tuned
from normkit.data.files import atomic, write_atomically
from normkit.report import COLORS, Report, new_figure, svg

__all__ = ["page", "print_changes", "print_table", "print_tuned", "roofline", "write_figure"]

_HEAD = ("operation", "variant", "shape", "how", "time", "of copy", "against", "ratio", "ULP")
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


def _how(record: Record) -> str:
    case = "" if record.dtype == "float32" else f", {record.dtype}"
    return f"{record.mode}, {record.output}, {record.threads} thread{'s' * (record.threads > 1)}{case}"


def _shape(record: Record) -> str:
    return "×".join(map(str, record.shape))


def _row(record: Record) -> tuple[str, ...]:
    return (
        record.op,
        record.variant,
        _shape(record),
        _how(record),
        duration(record.median_ns),
        "–" if record.copy_fraction is None else f"{record.copy_fraction:.2f}",
        record.ratio_to or "–",
        _ratio(record),
        "–" if record.max_ulp is None else f"{record.max_ulp:.3g}",
    )


def print_table(table: Table, console: Console) -> None:
    """Print the user's view, then the kernels' view, then what was left out and why."""
    for title, records in _views(table):
        console.print(_table(("operation", "variant", "time", "of copy", "against", "ULP"), _grouped(records), title))
    for reason in _reasons(table):
        console.print(reason, highlight=False)
    console.print(_LEGEND, highlight=False)


def _grouped(records: Iterable[Record]) -> Iterator[tuple[str, ...]]:
    """Rows that name the operation and its setting once, above the variants."""
    last = ""
    for record in records:
        setting = f"{record.op} {_shape(record)}\n{_how(record)}"
        _, variant, *_, time, copy, peer, ratio, ulp = _row(record)
        yield setting if setting != last else "", variant, time, copy, f"{peer} {ratio}", ulp
        last = setting


def _table(head: Iterable[str], rows: Iterable[tuple[str, ...]], title: str) -> RichTable:
    """A table that breaks lines where the terminal is narrow and cuts nothing off."""
    shown = RichTable(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in head:
        shown.add_column(name, overflow="fold")
    for row in rows:
        shown.add_row(*row)
    return shown


def print_changes(changes: Iterable[Change], console: Console) -> None:
    """Print how the ratios moved since another run, one a line, regressions first."""
    for record, before, after, regression in changes:
        moved = f"{before:.2f} → {after:.2f}{'  regression' if regression else ''}"
        what = f"{record.op} {record.variant} {_shape(record)} ({_how(record)}) against {record.ratio_to}"
        console.print(f"{what}: {moved}", soft_wrap=True, highlight=False)


def print_tuned(found: Iterable[Tuned], console: Console) -> None:
    """Print what `tune` found of each threshold."""
    rows = [(each.name, str(each.value), str(each.best), f"{each.gain:.2f}", str(each.threads)) for each in found]
    console.print(
        _table(("threshold", "now", "best seen", "gain", "threads"), rows, "Thresholds of the native softmax")
    )
    console.print("gain: speed over the present value; below 1.03 leave it. The table is native/core/limits.hpp.")


def _views(table: Table) -> list[tuple[str, list[Record]]]:
    views = [("As a network calls it", users_view(table)), ("Kernel by kernel", kernels_view(table))]
    return [(title, records) for title, records in views if records]


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
    for title, records in _views(table):
        report.heading(title)
        report.table(_HEAD, map(_row, records))
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
