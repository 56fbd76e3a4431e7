"""A noisy sine after many rounds of self-distillation: without the ground truth it goes to zero."""

from typing import Any

import numpy as np

from normkit.estimators import SelfDistilledKernelRidge
from normkit.report import COLORS, new_figure

ROUNDS = (1, 4, 16, 64)


def draw() -> Any:
    """The picture."""
    generator = np.random.default_rng(0)
    x = np.sort(generator.uniform(0, 1, 30))[:, None]
    y = np.sin(2 * np.pi * x[:, 0]) + 0.3 * generator.normal(size=30)
    grid = np.linspace(0, 1, 201)[:, None]
    figure, axes = new_figure()
    axes.plot(x[:, 0], y, "o", color=COLORS["muted"], markersize=4)
    for alpha, color, label in ((0.0, "before", "teacher alone"), (0.2, "after", "a fifth of ground truth")):
        model = SelfDistilledKernelRidge(gamma=30, lam=0.3, alpha=alpha, n_rounds=max(ROUNDS)).fit(x, y)
        staged = list(model.staged_predict(grid))
        for strength, number in zip((0.25, 0.45, 0.7, 1.0), ROUNDS, strict=True):
            name = f"{label}, round {number}" if number == max(ROUNDS) else None
            axes.plot(grid[:, 0], staged[number - 1], color=COLORS[color], alpha=strength, label=name)
    axes.set_xlabel("x")
    axes.set_ylabel("f(x)")
    axes.legend()
    return figure
