"""Noisy labels on a quarter circle, and what infinitely wide and deep networks of three activations make of them."""

from typing import Any

import numpy as np

from normkit.estimators import InfiniteNetClassifier
from normkit.report import COLORS, new_figure


def draw() -> Any:
    """The picture."""
    generator = np.random.default_rng(0)
    angles, grid = np.sort(generator.uniform(0, np.pi / 2, 150)), np.linspace(0.002, np.pi / 2 - 0.002, 600)
    labels = (generator.random(150) < _chance(angles)).astype(int)
    figure, (left, right) = new_figure(rows=1, columns=2, width=7.2, height=2.8)
    ordinary = {"he₂: nearest neighbor": ([0.0, 0.0, 1.0], "before", 0.7), "ReLU: majority": ("relu", "accent", 1.8)}
    for axes, networks in ((left, ordinary), (right, {"optimal for d = 1": ("optimal", "after", 1.2)})):
        axes.plot(grid, _chance(grid), color=COLORS["muted"], linewidth=1.5, label="P(y = 1)")
        for name, (activation, color, width) in networks.items():
            model = InfiniteNetClassifier(activation, preprocess=False).fit(_circle(angles), labels)
            shares = model.predict_proba(_circle(grid))[:, 1]
            axes.plot(grid, shares, color=COLORS[color], linewidth=width, label=name)
        axes.plot(angles, np.where(labels, 1.06, -0.06), "|", color=COLORS["muted"], markersize=4)
        axes.set(xlabel="angle of x", ylabel="share of class 1", ylim=(-0.12, 1.8), yticks=(0, 0.5, 1))
        axes.legend(loc="upper right")
    return figure


def _chance(angles: np.ndarray) -> np.ndarray:
    return np.where(np.sin(6 * angles) > 0, 0.8, 0.2)


def _circle(angles: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(angles), np.sin(angles)], 1)
