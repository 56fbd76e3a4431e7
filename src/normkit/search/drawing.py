"""A graph as a picture: given nodes at the bottom, the output on top, an arrow from each operand to its reader."""

from typing import Any

from normkit.nn.graph import LEAVES, Graph

__all__ = ["draw"]

_SIGNS = {"add": "+", "mul": "×", "div": "÷", "max": "max", "neg": "−", "sigmoid": "σ", "abs": "|·|", "square": "(·)²"}
_COLORS = {"leaf": "#8d99ae", "moment": "#2a9d8f", "operation": "#4c78d0", "output": "#d1495b"}


def draw(graph: Graph, axes: Any) -> None:
    """Draw the reachable part of `graph` on matplotlib axes.

    The arrows of an operation whose operands may not change places (÷) are marked a and b.

    Args:
        graph: what to draw.
        axes: matplotlib axes; ticks and frame are taken away.
    """
    places = _places(graph)
    axes.set_axis_off()
    middle = max(x for x, _ in places.values()) / 2
    for index in graph.reachable:
        for label, operand in zip("ab", graph.operands(index), strict=False):
            mark = label if graph.operation(index) == "div" else ""
            off = places[operand][0] - middle
            side = -1.0 if off < 0 or (off == 0 and label == "a") else 1.0
            _arrow(axes, places[operand], places[index], side, mark)
    for index, place in places.items():
        _box(axes, graph, index, place)
    axes.set_xlim(-0.8, 2 * middle + 0.8)
    axes.set_ylim(-0.5, max(y for _, y in places.values()) + 0.5)


def _places(graph: Graph) -> dict[int, tuple[float, float]]:
    """Height: the longest way from x, a given node just below its first reader; width: one row a height, centred."""
    height: dict[int, int] = {}
    for index in graph.reachable:
        height[index] = 1 + max((height[operand] for operand in graph.operands(index)), default=-1)
    for leaf in [index for index in graph.reachable if 0 < index < len(LEAVES)]:
        height[leaf] = min(height[index] for index in graph.reachable if leaf in graph.operands(index)) - 1
    rows: dict[int, list[int]] = {}
    for index, row in height.items():
        rows.setdefault(row, []).append(index)
    widest = max(len(row) for row in rows.values())
    return {
        index: (place + (widest - len(row)) / 2, float(level))
        for level, row in rows.items()
        for place, index in enumerate(row)
    }


def _arrow(axes: Any, start: tuple[float, float], end: tuple[float, float], side: float, mark: str) -> None:
    """A curve from operand to reader; one that passes other rows bows to its side, so as not to run through boxes."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    span = end[1] - start[1]
    bow = 0.0 if span <= 1 else side * 0.45 * span
    control = ((start[0] + end[0]) / 2 + bow, (start[1] + end[1]) / 2)
    curve = Path([(start[0], start[1] + 0.2), control, (end[0], end[1] - 0.2)], [Path.MOVETO, Path.CURVE3, Path.CURVE3])
    axes.add_patch(FancyArrowPatch(path=curve, arrowstyle="-|>", mutation_scale=11, color=_COLORS["leaf"]))
    if mark:
        x, y = (0.2 * a + 0.48 * b + 0.32 * c for a, b, c in zip(start, control, end, strict=True))
        axes.text(x + 0.07, y, mark, fontsize=9, color=_COLORS["leaf"], style="italic")


def _box(axes: Any, graph: Graph, index: int, place: tuple[float, float]) -> None:
    if index < len(LEAVES):
        name, kind = LEAVES[index], "leaf"
    else:
        operation = graph.operation(index)
        name = _SIGNS.get(operation, operation.replace("-", "\n"))
        kind = "output" if index == graph.output else "moment" if "-" in operation else "operation"
    box = {"boxstyle": "round,pad=0.35", "facecolor": _COLORS[kind], "edgecolor": "none"}
    axes.text(*place, name, ha="center", va="center", fontsize=9, color="white", bbox=box)
