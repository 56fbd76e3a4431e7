"""How a comparison is shown: a table for the terminal, a page with curves for the browser."""

from itertools import groupby
from typing import Any

from rich.table import Table

from normkit.comparison.interval import Interval
from normkit.comparison.result import Comparison, MethodResult
from normkit.report import Report, new_figure

__all__ = ["page", "table"]

_HEADERS = ("method", "batch", "best rate", "quality", "gain", "worst rate", "quality", "ms", "MB")


def table(comparison: Comparison) -> Table:
    """The comparison as a table for the terminal, narrow enough for 80 columns."""
    shown = Table(title="quality on held-out data: mean over seeds ± half of the 95 % interval", padding=(0, 0))
    sizes = {method.batch_size for method in comparison.methods}
    shown.add_column("method", overflow="fold")
    for header in (*(["batch"] if len(sizes) > 1 else []), "best", "gain", "worst", "ms", "MB"):
        shown.add_column(header, justify="right", no_wrap=True)
    for method in comparison.methods:
        _, batch, best_lr, best, gain, worst_lr, worst, *cost = map(str, _row(method))
        name = method.name.replace("+", "\n+ ")
        size = [batch] if len(sizes) > 1 else []
        shown.add_row(name, *size, f"{best}\nat {best_lr}", gain, f"{worst}\nat {worst_lr}", *cost)
    return shown


def page(comparison: Comparison) -> Report:
    """The comparison as a page: what was compared, curves over learning rates (and batch sizes), the table."""
    settings = comparison.settings
    report = Report(
        "Comparison of methods",
        f"{settings['seeds']} paired seeds, {settings['steps']} steps a run, the same learning rates for each method.",
    )
    for size, group in groupby(comparison.methods, key=lambda method: method.batch_size):
        methods = list(group)
        report.heading(f"Batch size {size}")
        report.figure(
            _rates(methods),
            "Quality on held-out data over the learning rate (at batch 32; other sizes scale it in proportion). "
            "Bars are 95 % intervals of the mean over seeds.",
            "; ".join(f"{method.name}: best {method.quality_best} at {method.best_lr:g}" for method in methods),
        )
    sizes = sorted({method.batch_size for method in comparison.methods})
    if len(sizes) > 1:
        report.heading("Over batch sizes")
        caption = "Quality at each method's best learning rate over the batch size."
        report.figure(_sizes(comparison.methods), caption, caption)
    report.heading("Figures")
    report.table(_HEADERS, [_row(method) for method in comparison.methods], caption=_CAPTION)
    if diverged := sum(run.diverged for run in comparison.runs):
        text = f"{diverged} of {len(comparison.runs)} runs diverged and count with quality {settings['floor']:g}."
        report.note("watch", text)
    return report


_CAPTION = (
    "Gain: quality minus that of the first method, seed by seed, each at its best rate. The best rate is chosen on the "
    "data it is judged on, for every method alike, so the best figures are somewhat optimistic. ms: a whole training "
    "step, median of interleaved rounds. MB: parameters, "
    "gradients and everything saved for the backward pass at the end of a forward pass."
)

_ASIDE = 1.04
"""Each method's points stand a little to the right of those of the one before, so that no bar hides another."""


def _row(method: MethodResult) -> list[Any]:
    return [
        method.name,
        method.batch_size,
        f"{method.best_lr:g}",
        str(method.quality_best),
        "–" if method.gain is None else str(method.gain),
        f"{method.worst_lr:g}",
        str(method.quality_worst),
        f"{1e3 * method.step_seconds:.2f}",
        f"{method.peak_bytes / 1e6:.2f}",
    ]


def _rates(methods: list[MethodResult]) -> Any:
    figure, axes = new_figure()
    for index, method in enumerate(methods):
        rates = [lr * _ASIDE**index for lr, _, _ in method.curve]
        _plot(axes, rates, [each for _, each, _ in method.curve], method.name)
    axes.set(xscale="log", xlabel="learning rate", ylabel="quality")
    axes.legend()
    return figure


def _sizes(methods: list[MethodResult]) -> Any:
    figure, axes = new_figure()
    for index, name in enumerate(dict.fromkeys(method.name for method in methods)):
        own = sorted((method for method in methods if method.name == name), key=lambda method: method.batch_size)
        _plot(
            axes, [method.batch_size * _ASIDE**index for method in own], [method.quality_best for method in own], name
        )
    axes.set_xscale("log", base=2)
    axes.set(xlabel="batch size", ylabel="quality at the best rate")
    axes.legend()
    return figure


def _plot(axes: Any, x: list[Any], intervals: list[Interval], label: str) -> None:
    means = [each.mean for each in intervals]
    below = [0.0 if each.low is None else each.mean - each.low for each in intervals]
    above = [0.0 if each.high is None else each.high - each.mean for each in intervals]
    axes.errorbar(x, means, yerr=[below, above], marker="o", capsize=3, label=label)
