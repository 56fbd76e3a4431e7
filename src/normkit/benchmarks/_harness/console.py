"""The lines on the terminal: one a variant and peer, under a line that names the operation and its setting."""

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console

from normkit.benchmarks._harness.crossover import Crossover
from normkit.benchmarks._harness.growth import Growth
from normkit.benchmarks._harness.record import Record
from normkit.benchmarks._harness.table import Change, Table
from normkit.benchmarks._harness.tune import Tuned
from normkit.benchmarks._harness.tune_gpu import GpuTuned
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

__all__ = ["PrintedLive", "print_changes", "print_crossovers", "print_table", "print_tuned", "print_tuned_gpu"]

_LEGEND = (
    "copy: rate of necessary bytes over an ordinary copy's · ULP: largest error, units in the last place\n"
    "ratio: the peer's time over ours, median of paired rounds{}; above 1 we are faster"
)
_HEAD = ("variant", "time", "copy", "ULP", "against", "ratio", "bar")
_GROWTH = "How the cost grows: CPU time and peak memory of one call with one thread\n"
_RIGHT = {"time", "copy", "ULP", "n", "memory"}
_WIDE = 100  # columns from which the intervals are printed too

Line = tuple[str, ...]


def print_table(table: Table, console: Console) -> None:
    """Print the user's view, the kernels' view, how cost grows; then which bars were missed, what was left out, why."""
    _print_views(table, console)
    if rows := grown(table):
        _print(console, _GROWTH, style="bold")
        _print_growth(rows, console)
    _print_end(table, console)


class PrintedLive:
    """Prints what `print_table` prints as it is measured: the kernels' rows together, of what grows size by size.

    Give it to `bench` as `measured`, and let `end` print the rest.
    """

    def __init__(self, console: Console, growing: Iterable[Growth] = ()) -> None:
        """`growing` are the suites of growth to come: their names tell how wide columns must be."""
        self._console, self._op = console, ""
        names = max((len(each.name) for growth in growing for each in growth.variants), default=0)
        self._widths = [max(names, len("variant")), 16, 8, 8, max(names, len("against")), 18, 0]

    def __call__(self, records: Sequence[Record]) -> None:
        """Print the records of one setting."""
        kernels = Table(tuple(record for record in records if record.mode != "growth"), {})
        if kernels.records:
            _print_views(kernels, self._console)
        for record in (record for record in records if record.mode == "growth"):
            if not self._op:
                _print(self._console, _GROWTH, style="bold")
                _print(self._console, _aligned(GROWTH_HEAD, self._widths, GROWTH_HEAD), style="dim")
            if record.op != self._op:
                self._op = record.op
                _print(self._console, record.op)
            _print(self._console, _aligned(growth_line(record), self._widths, GROWTH_HEAD))

    def end(self, table: Table) -> None:
        """Print which bars were missed, what was left out, and why."""
        if self._op:
            _print(self._console, "")
        _print_end(table, self._console)


def _print_views(table: Table, console: Console) -> None:
    for title, records in views(table):
        _print(console, f"{title}\n", style="bold")
        _print_groups(records, console, interval=console.width >= _WIDE)


def _print_end(table: Table, console: Console) -> None:
    for line in filter(None, (verdicts(table), *reasons(table))):
        _print(console, line)
    _print(console, _LEGEND.format(" and its 95 % interval" if console.width >= _WIDE else " (~ noisy)"))


def _print(console: Console, line: str, style: str | None = None) -> None:
    console.print(line, style=style, soft_wrap=True, highlight=False, markup=False)


def _print_groups(records: Sequence[Record], console: Console, interval: bool) -> None:
    lines = [_line(record, interval) for record in records]
    widths = [max(map(len, column)) for column in zip(_HEAD, *lines, strict=True)]
    _print(console, _aligned(_HEAD, widths), style="dim")
    for record, line, is_new, is_repeated in _grouped(records, lines):
        if is_new:
            _print(console, f"{record.op} {shape(record)}  {setting(record)}")
        # A variant's own figures stand once, beside the first peer.
        _print(console, _aligned(("",) * 4 + line[4:] if is_repeated else line, widths))
    _print(console, "")


def _print_growth(records: Sequence[Record], console: Console) -> None:
    lines = [growth_line(record) for record in records]
    widths = [max(map(len, column)) for column in zip(GROWTH_HEAD, *lines, strict=True)]
    _print(console, _aligned(GROWTH_HEAD, widths, GROWTH_HEAD), style="dim")
    before = ""
    for record, line in zip(records, lines, strict=True):
        if record.op != before:
            _print(console, record.op)
        before = record.op
        _print(console, _aligned(line, widths, GROWTH_HEAD))
    _print(console, "")


def _grouped(records: Sequence[Record], lines: Sequence[Line]) -> Iterator[tuple[Record, Line, bool, bool]]:
    before: tuple[str, str] = ("", "")
    for record, line in zip(records, lines, strict=True):
        group = f"{record.op} {shape(record)} {setting(record)}"
        yield record, line, group != before[0], (group, record.variant) == before
        before = group, record.variant


def _line(record: Record, interval: bool) -> Line:
    return (
        record.variant.replace("normkit/", "/"),
        duration(record.median_ns),
        "–" if record.copy_fraction is None else f"{record.copy_fraction:.2f}",
        "–" if record.max_ulp is None else f"{record.max_ulp:.3g}",
        (record.ratio_to or "–").replace("normkit/", "/"),
        ratio(record, interval=interval),
        bar(record),
    )


def _aligned(line: Line, widths: Sequence[int], head: Line = _HEAD) -> str:
    cells = zip(head, line, widths, strict=True)
    return ("  " + " ".join(f"{cell:{'>' if name in _RIGHT else '<'}{width}}" for name, cell, width in cells)).rstrip()


def print_changes(changes: Iterable[Change], console: Console) -> None:
    """Print how the ratios moved since another run, one a line, regressions first."""
    for record, before, after, regression in changes:
        moved = f"{before:.2f} → {after:.2f}{'  regression' if regression else ''}"
        what = f"{record.op} {record.variant} {shape(record)} ({setting(record)}) against {record.ratio_to}"
        _print(console, f"{what}: {moved}")


def print_tuned(found: Iterable[Tuned], console: Console) -> None:
    """Print what `tune` found of each threshold."""
    _print(console, "Thresholds of the native softmax\n", style="bold")
    _print(console, f"  {'threshold':<14}{'now':>10}{'best seen':>12}{'gain':>7}{'threads':>9}", style="dim")
    for each in found:
        _print(console, f"  {each.name:<14}{each.value:>10}{each.best:>12}{each.gain:>7.2f}{each.threads:>9}")
    _print(console, "gain: speed over the present value; below 1.03 leave it. The table is native/core/limits.hpp.")


def print_crossovers(found: Iterable[Crossover], console: Console) -> None:
    """Print where the native kernels are the quicker ones and where dispatch takes another."""
    _print(console, "\nNative kernels or torch's\n", style="bold")
    _print(console, f"  {'operation':<22}{'shape':<18}{'native':>8}{'default':>9}", style="dim")
    for each in found:
        wrong = "  the other kernel is quicker" if each.default < 0.95 else ""
        size = "×".join(map(str, each.shape))
        _print(console, f"  {each.op:<22}{size:<18}{each.native:>8.2f}{each.default:>9.2f}{wrong}")
    _print(
        console, "native: torch's time over the native kernel's; default: the quicker one's over the public function's."
    )


def print_tuned_gpu(found: GpuTuned, console: Console) -> None:
    """Print the tiles and crossovers that were found on the GPU and where they are kept, or why there are none."""
    if found.table is None:
        _print(console, f"GPU: nothing was measured: {found.skipped}")
        return
    _print(console, "Tiles of the GPU kernels\n", style="bold")
    for tile in found.tiles:
        shape = f"{tile['ROWS']}×{tile['BLOCK']}, {tile['num_warps']} warps"
        _print(console, f"  {tile['key']:<42}{shape:<24}{tile['ratio']:>6.2f} of the time before")
    _print(console, "\nElements from which on they are called\n", style="bold")
    for name, elements in found.crossovers.items():
        _print(console, f"  {name.removesuffix(' crossover'):<42}{elements:>10}")
    _print(console, f"kept in {found.table}; from now on every process here takes them.")
