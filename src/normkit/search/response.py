"""What a layer does to one value of a map that is otherwise random: its shape as an activation."""

import torch
from jaxtyping import Float
from torch import Tensor

from normkit.nn.graph import LEAVES, Graph, evaluate

__all__ = ["divides_by_second_moment", "nonlinearity", "response"]


def response(graph: Graph, values: Float[Tensor, " points"], *, groups: int = 1) -> Float[Tensor, " points"]:
    """The output at one place of standard normal maps (2, 4, 64, 64) as its input takes each of `values` (any units).

    The maps are so large that the statistics hardly move with the one value.
    """
    maps = torch.randn(2, 4, 64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = []
    with torch.no_grad():
        for value in values:
            maps[0, 0, 0, 0] = value
            found.append(evaluate(graph, maps, None, None, groups).expand(maps.shape)[0, 0, 0, 0])
    return torch.stack(found)


def nonlinearity(graph: Graph) -> float:
    """How far the response on −3 … 3 is from a straight line: largest distance over the response's range, 0 … 1.

    0 for a plain normaliser x/s; 0.25 for a ReLU; NaN where the response is constant or not finite.
    """
    x = torch.linspace(-3, 3, 24, dtype=torch.float64)  # without 0, where x/x has no value
    y = response(graph, x)
    if not y.isfinite().all():
        return float("nan")
    design = torch.stack([x, torch.ones_like(x)], 1)
    line = design @ torch.linalg.lstsq(design, y[:, None]).solution
    return float((y - line[:, 0]).abs().max() / (y.max() - y.min()))


def divides_by_second_moment(graph: Graph) -> bool:
    """Whether the graph divides by an rms or std, by its negative, or by a maximum with one."""
    return any(
        graph.operation(index) == "div" and _is_scale(graph, graph.operands(index)[1])
        for index in graph.reachable
        if index >= len(LEAVES)
    )


def _is_scale(graph: Graph, index: int) -> bool:
    if index < len(LEAVES):
        return False
    name, operands = graph.operation(index), graph.operands(index)
    if name in ("max", "neg"):
        return any(_is_scale(graph, operand) for operand in operands)
    return name.startswith(("rms", "std"))
