"""Independent amounts, one of them large and restless: correlations of their shares, and what is left of them."""

from typing import Any

import numpy as np

from normkit import data
from normkit.estimators import partial_correlation
from normkit.report import new_figure


def draw() -> Any:
    """The picture."""
    X = data.dominated_compositions(500)
    shares = np.corrcoef(X, rowvar=False)
    figure, axes = new_figure(height=3.2)
    both = np.full((8, 17), np.nan)
    both[:, :8], both[:, 9:] = shares, partial_correlation(X)
    image = axes.imshow(both, cmap="RdBu_r", vmin=-1, vmax=1)
    figure.colorbar(image, ax=axes, shrink=0.8, label="coefficient")
    axes.set_xticks([3.5, 12.5], ["correlation of the shares", "partial correlation"])
    axes.set_yticks(range(8), [f"part {number}" for number in range(1, 9)])
    axes.grid(False)
    return figure
