"""Partial correlations as pictures: a heat map and a graph."""

from typing import Any

import numpy as np
from scipy import sparse
from scipy.cluster import hierarchy

__all__ = ["graph", "heat_map"]

_POSITIVE, _NEGATIVE = "#b2182b", "#2166ac"
_NAMED = 60
"""Up to so many parts are named along the axes."""
_MOST = 2000


def heat_map(correlations: Any, names: np.ndarray, axes: Any = None) -> Any:
    """ρ in red and blue; parts that go together stand together."""
    if sparse.issparse(correlations):
        paired = np.flatnonzero(np.diff(correlations.indptr) > 1)
        correlations, names = correlations[paired][:, paired], names[paired]
    if not 2 <= len(names) <= _MOST:
        raise ValueError(f"{len(names)} parts to draw: a heat map is for 2 to {_MOST}; see edges() or another cutoff")
    matrix = correlations.toarray() if sparse.issparse(correlations) else correlations
    order = _clustered(np.nan_to_num(matrix))
    axes = axes if axes is not None else _axes()
    image = axes.imshow(matrix[np.ix_(order, order)], cmap="RdBu_r", vmin=-1, vmax=1)
    axes.figure.colorbar(image, ax=axes, label="partial correlation")
    if len(names) <= _NAMED:
        axes.set_xticks(range(len(names)), names[order], rotation=90)
        axes.set_yticks(range(len(names)), names[order])
    return axes


def graph(edges: Any, names: np.ndarray, axes: Any = None) -> Any:
    """The parts on a circle, joined by their edges: red positive, blue negative, the wider the stronger."""
    axes = axes if axes is not None else _axes()
    if len(names) > _NAMED:
        names = names[np.isin(names, [*edges["part"], *edges["other"]])]
    angles = 2 * np.pi * np.arange(len(names)) / len(names)
    place = dict(zip(names, np.column_stack([np.cos(angles), np.sin(angles)]), strict=True))
    for part, other, value in zip(edges["part"], edges["other"], edges["partial_correlation"], strict=True):
        (x0, y0), (x1, y1) = place[part], place[other]
        color = _POSITIVE if value > 0 else _NEGATIVE
        axes.plot([x0, x1], [y0, y1], color=color, linewidth=0.5 + 5 * abs(value), alpha=0.7, zorder=1)
    axes.scatter(np.cos(angles), np.sin(angles), s=30, color="#444444", zorder=2)
    for name, (x, y) in place.items():
        axes.text(1.1 * x, 1.1 * y, str(name), ha="center", va="center")
    axes.set_xlim(-1.25, 1.25)
    axes.set_ylim(-1.25, 1.25)
    axes.set_aspect("equal")
    axes.set_axis_off()
    return axes


def _clustered(matrix: np.ndarray) -> np.ndarray:
    """The leaves of an average-linkage tree with the distance 1 − |ρ|."""
    distances = 1 - np.abs(matrix[np.triu_indices(len(matrix), 1)])
    return hierarchy.leaves_list(hierarchy.linkage(distances, "average"))


def _axes() -> Any:
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(6, 5))[1]
