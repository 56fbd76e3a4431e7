"""Steps until two classes are told apart, over the number of samples that are right already."""

from typing import Any

from normkit.data import worst_case_dataset
from normkit.estimators import NormalizedLogisticRegression
from normkit.report import COLORS, new_figure


def draw() -> Any:
    """The picture."""
    figure, axes = new_figure()
    sizes = (10, 30, 100, 300, 1000, 3000)
    for method, color, label in (("plain", "before", "mean gradient"), ("normalized", "after", "normalised")):
        steps = [
            NormalizedLogisticRegression(100.0, method, fit_intercept=False).fit(*worst_case_dataset(n)).n_iter_
            for n in sizes
        ]
        axes.plot(sizes, steps, "o-", color=COLORS[color], label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("samples")
    axes.set_ylabel("steps until all are right")
    axes.legend()
    return figure
