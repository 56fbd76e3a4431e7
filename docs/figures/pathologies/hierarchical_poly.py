"""Error over the number of samples: kernel ridge and the layer-wise network, median of five seeds."""

import warnings
from statistics import median
from typing import Any

import numpy as np

from normkit.data import make_hierarchical_polynomial
from normkit.estimators import HierarchicalPolynomialRegressor, kernel_ridge
from normkit.report import COLORS, new_figure

D = 16
SEEDS = range(5)


def draw() -> Any:
    """The picture."""
    ratios = (2, 4, 8, 12)
    learners = {
        "kernel ridge, degree 4": lambda: kernel_ridge(4),
        "layer by layer": lambda: HierarchicalPolynomialRegressor(random_state=0),
    }
    figure, axes = new_figure()
    for (name, make), color in zip(learners.items(), ("before", "after"), strict=True):
        errors = [median(_error(make(), ratio * D**2, seed) for seed in SEEDS) for ratio in ratios]
        axes.plot([ratio * D**2 for ratio in ratios], errors, "o-", color=COLORS[color], label=name)
    axes.set_xlabel(f"samples of a quadratic of a quadratic in {D} dimensions")
    axes.set_ylabel("error, of the target's variance")
    axes.set_ylim(0, 1)
    axes.legend()
    return figure


def _error(model: Any, n: int, seed: int) -> float:
    X, y, _ = make_hierarchical_polynomial(n + 4000, D, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # few samples may teach the first stage nothing
        model.fit(X[:n], y[:n])
    return float(np.mean((model.predict(X[n:]) - y[n:]) ** 2) / np.var(y[n:]))
