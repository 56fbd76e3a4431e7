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
    for index in graph.reachable:
        for label, operand in zip("ab", graph.operands(index), strict=False):
            mark = label if graph.operation(index) == "div" else ""
            _arrow(axes, places[operand], places[index], mark)
    for index, place in places.items():
        _box(axes, graph, index, place)
    width = max(x for x, _ in places.values())
    axes.set_xlim(-0.7, width + 0.7)
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


def _arrow(axes: Any, start: tuple[float, float], end: tuple[float, float], mark: str) -> None:
    # a way past other rows bends, so that it does not run through their boxes
    bend = 0.25 if end[1] - start[1] > 1 else 0.0
    line = {"arrowstyle": "-|>", "color": "#8d99ae", "connectionstyle": f"arc3,rad={bend}"}
    axes.annotate("", xy=end, xytext=start, arrowprops={**line, "shrinkA": 13, "shrinkB": 13})
    if mark:
        near = [0.45 * a + 0.55 * b for a, b in zip(start, end, strict=True)]
        axes.text(near[0] + 0.08, near[1], mark, fontsize=8, color="#8d99ae", style="italic")


def _box(axes: Any, graph: Graph, index: int, place: tuple[float, float]) -> None:
    if index < len(LEAVES):
        name, kind = LEAVES[index], "leaf"
    else:
        operation = graph.operation(index)
        name = _SIGNS.get(operation, operation.replace("-", "\n"))
        kind = "output" if index == graph.output else "moment" if "-" in operation else "operation"
    box = {"boxstyle": "round,pad=0.35", "facecolor": _COLORS[kind], "edgecolor": "none"}
    axes.text(*place, name, ha="center", va="center", fontsize=9, color="white", bbox=box)
