"""Partial correlations as pictures: a heat map and a graph. The same numbers give the same picture.

Red is positive and blue negative, in the diverging map RdBu, which color-blind people can tell apart; the limits are
symmetrical, so that white is 0. Names stand wherever they can be read in the axes that are given.
"""

from typing import Any

import numpy as np
from scipy import sparse
from scipy.cluster import hierarchy

__all__ = ["graph", "heat_map"]

_POSITIVE, _NEGATIVE, _INK, _UNKNOWN = "#b2182b", "#2166ac", "#333333", "#c8c8c8"
_MOST = 2000
"""Parts in a heat map."""
_ALL = 60
"""Up to so many parts a graph shows those without an edge too."""
_ORDERED = 500
"""Up to so many parts the leaves of the tree are turned so that neighbors are alike; that takes D² log D and more."""
_LARGEST, _SMALLEST = 9.0, 4.5
"""Points of a name; one that would be smaller is left out."""
_CELL = 6.0
"""Points of a cell that holds a dot; in smaller ones there is a ring about the cell."""
_LETTERS = 32
_LEVEL = 16
"""Up to so many names around a circle are written level."""


def heat_map(
    correlations: Any, names: np.ndarray, edges: tuple[np.ndarray, np.ndarray] | None, level: float, axes: Any = None
) -> Any:
    """ρ in red and blue, parts that go together side by side; `edges` (i, j) are marked."""
    kept = np.arange(len(names))
    if sparse.issparse(correlations):
        kept = np.flatnonzero(np.diff(correlations.indptr) > 1)
        correlations = correlations[kept][:, kept]
    if not 2 <= len(kept) <= _MOST:
        raise ValueError(f"{len(kept)} parts to draw: a heat map is for 2 to {_MOST}; see edges() or another cutoff")
    matrix = correlations.toarray() if sparse.issparse(correlations) else correlations.copy()
    np.fill_diagonal(matrix, np.nan)  # 1 by definition: it would only narrow the scale for what was measured
    order = _clustered(matrix)
    axes = axes if axes is not None else _axes(np.clip(0.16 * len(kept), 3.5, 12.0) + _reach(names[kept]), beside=0.9)
    image = _cells(matrix[np.ix_(order, order)], axes)
    bar = axes.figure.colorbar(image, ax=axes, label="partial correlation", shrink=0.8, aspect=25, pad=0.02)
    bar.outline.set_visible(False)
    _name_cells(axes, names[kept][order])
    if edges is not None:
        _marks(axes, np.argsort(kept[order]), kept[order], edges, level)
    return axes


def _cells(matrix: np.ndarray, axes: Any) -> Any:
    from matplotlib import colormaps

    known = np.abs(matrix[~np.isnan(matrix)])
    limit = max(0.1, np.ceil(10 * known.max(initial=0.0) - 1e-9) / 10)  # to the next tenth
    image = axes.imshow(matrix, cmap=colormaps["RdBu_r"].with_extremes(bad=_UNKNOWN), vmin=-limit, vmax=limit)
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return image


def _name_cells(axes: Any, names: np.ndarray) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    size = _points(axes) / len(names)
    if size < _SMALLEST:
        axes.set_xlabel(f"{len(names)} parts, in the order of a clustering")
        return
    font = min(_LARGEST, 0.9 * size)
    across = 72 * _reach(names, font) > size  # wider than a cell
    axes.set_xticks(range(len(names)), _short(names), rotation=90 if across else 0, fontsize=font)
    axes.set_yticks(range(len(names)), _short(names), fontsize=font)


def _marks(axes: Any, place: np.ndarray, shown: np.ndarray, edges: tuple[np.ndarray, np.ndarray], level: float) -> None:
    """A dot or a ring in both cells of a pair; `place` of the parts by number, `shown` the parts as they are drawn."""
    column = dict(zip(np.sort(shown).tolist(), place.tolist(), strict=True))
    first, second = ([column[part] for part in each.tolist()] for each in edges)
    cell = _points(axes) / len(shown)
    if cell >= _CELL:
        mark, style = "dots", {"s": np.clip(0.25 * cell, 1.5, 4.0) ** 2, "color": "black", "linewidths": 0}
    else:  # a dot would be lost
        mark, style = "rings", {"s": 5.0**2, "facecolors": "none", "edgecolors": "black", "linewidths": 0.7}
    axes.scatter([*first, *second], [*second, *first], **style)
    axes.set_title(f"{mark}: {len(first)} edges at a false discovery rate of {level:g}", fontsize=_LARGEST, loc="left")


def graph(first: np.ndarray, second: np.ndarray, values: np.ndarray, names: np.ndarray, axes: Any = None) -> Any:
    """The parts on a circle, joined by their edges (i, j): blue dashed where negative, wider where stronger."""
    shown = np.arange(len(names)) if len(names) <= _ALL else np.unique(np.concatenate([first, second]))
    first, second = np.searchsorted(shown, first), np.searchsorted(shown, second)
    shown, first, second = _around(shown, first, second, values)
    axes = axes if axes is not None else _axes(np.clip(0.09 * len(shown), 3.0, 9.0) + 2 * _reach(names[shown]) + 0.3)
    angles = np.pi / 2 - 2 * np.pi * np.arange(len(shown)) / max(len(shown), 1)
    points = np.column_stack([np.cos(angles), np.sin(angles)])
    axes.set_aspect("equal")
    axes.set_axis_off()
    _arcs(axes, points[first], points[second], values)
    joined = np.isin(np.arange(len(shown)), [*first, *second])
    axes.scatter(*points.T, s=22, color=np.where(joined, _INK, "white"), edgecolors=_INK, linewidths=0.8, zorder=3)
    _name_nodes(axes, names[shown], angles)
    if len(shown) < len(names):
        axes.set_title(f"{len(names) - len(shown)} parts without an edge are not drawn", fontsize=_LARGEST, loc="left")
    return axes


def _around(
    shown: np.ndarray, first: np.ndarray, second: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The parts in the order of a clustering of their edges, so that most are short."""
    if len(shown) < 3:
        return shown, first, second
    matrix = np.zeros((len(shown), len(shown)))
    matrix[first, second] = matrix[second, first] = values
    order = _clustered(matrix)
    place = np.argsort(order)
    return shown[order], place[first], place[second]


def _arcs(axes: Any, starts: np.ndarray, ends: np.ndarray, values: np.ndarray) -> None:
    """Curves bent towards the center, so that an edge between neighbors does not hide behind another."""
    from matplotlib.lines import Line2D

    along = np.linspace(0, 1, 30)[:, None]
    middle = (starts + ends) / 2
    bends = middle * (1 - 0.4 * np.linalg.norm(ends - starts, axis=1, keepdims=True))  # far parts more than neighbors
    curves = [
        (1 - along) ** 2 * start + 2 * along * (1 - along) * bend + along**2 * end
        for start, bend, end in zip(starts, bends, ends, strict=True)
    ]
    widest, strongest = 4.0 if len(values) <= 100 else 2.0, np.abs(values).max(initial=0.0)
    for each in np.argsort(np.abs(values), kind="stable"):  # the strongest on top
        color, style = (_POSITIVE, "-") if values[each] > 0 else (_NEGATIVE, "--")
        width = _width(abs(values[each]) / strongest, widest) if strongest else 0.5
        axes.plot(*curves[each].T, color=color, linestyle=style, linewidth=width, alpha=0.75, zorder=2)
    handles = [
        Line2D([], [], color=_POSITIVE, linewidth=2, label=f"positive ({(values > 0).sum()})"),
        Line2D([], [], color=_NEGATIVE, linewidth=2, linestyle="--", label=f"negative ({(values < 0).sum()})"),
    ]
    if len(values):
        for share in (1.0, 0.5):
            text = f"|ρ| = {share * strongest:.2g}"
            handles.append(Line2D([], [], color=_INK, linewidth=_width(share, widest), label=text))
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=2, frameon=False, fontsize=_LARGEST)


def _width(share: Any, widest: float) -> Any:
    return 0.5 + (widest - 0.5) * share


def _name_nodes(axes: Any, names: np.ndarray, angles: np.ndarray) -> None:
    """Names outside the circle, along its radius where they are many, and the room that they need."""
    side, gap = _points(axes), 6.0
    font = min(_LARGEST, 0.9 * np.pi * 0.6 * side / max(len(names), 1))
    readable = font >= _SMALLEST
    radius = max(side / 2 - gap - (72 * _reach(names, font) if readable else 0.0), side / 5)
    axes.set_xlim(-side / 2 / radius, side / 2 / radius)
    axes.set_ylim(-side / 2 / radius, side / 2 / radius)
    if not readable:
        return
    for name, angle in zip(_short(names), angles, strict=True):
        x, y = np.cos(angle), np.sin(angle)
        turn: dict[str, Any] = {"rotation": np.degrees(angle) + (180 if x < -1e-9 else 0), "va": "center"}
        if len(names) <= _LEVEL:
            turn = {"rotation": 0, "va": "bottom" if y > 0.9 else "top" if y < -0.9 else "center"}
        side_of = "center" if len(names) <= _LEVEL and abs(y) > 0.9 else "right" if x < -1e-9 else "left"
        at = 1 + gap / radius
        axes.text(at * x, at * y, name, ha=side_of, rotation_mode="anchor", fontsize=font, **turn)


def _short(names: np.ndarray) -> list[str]:
    """Names of at most so many letters: of a lineage the end says more than the beginning."""
    texts = [str(name) for name in names]
    return [text if len(text) <= _LETTERS else f"{text[:9]}…{text[10 - _LETTERS :]}" for text in texts]


def _reach(names: np.ndarray, font: float = _LARGEST) -> float:
    """Inches that the longest name takes, from the mean width of a letter."""
    return 0.6 * font / 72 * max((len(text) for text in _short(names)), default=0)


def _clustered(matrix: np.ndarray) -> np.ndarray:
    """The leaves of an average-linkage tree with the distance 1 − |ρ|."""
    distances = 1 - np.abs(np.nan_to_num(matrix[np.triu_indices(len(matrix), 1)]))
    return hierarchy.leaves_list(hierarchy.linkage(distances, "average", optimal_ordering=len(matrix) <= _ORDERED))


def _points(axes: Any) -> float:
    """The shorter side of the axes, in points."""
    box = axes.get_window_extent()
    return float(min(box.width, box.height) * 72 / axes.figure.dpi)


def _axes(inches: float, beside: float = 0.0) -> Any:
    from matplotlib import pyplot

    axes = pyplot.subplots(figsize=(inches + beside, inches + 0.6), layout="constrained")[1]
    axes.figure.draw_without_rendering()  # settles how large the axes are
    return axes
