"""Layers that people designed or that the authors' search found, as graphs: `known["evonorm-s0"]`.

Each computes the published layer without γ and β, which `GraphNorm2d` adds; ε is the graph's own (1e-5) everywhere.

Source: Liu et al. 2020, "Evolving Normalization-Activation Layers", arXiv:2004.02967, table 3.
"""

from normkit.nn.graph import LEAVES, Graph, Node
from normkit.nn.primitives import OPERATIONS, is_binary

__all__ = ["NODES", "graph_of", "known"]

NODES = 10
"""Nodes of a graph of the search space, beside the four that are given."""


def graph_of(*steps: str, size: int = NODES) -> Graph:
    """A graph from lines such as "a = mul x v1": names to the left, operations and operands to the right.

    The last line is the output and stands at the end; unused nodes (0 + 0 of the input with itself) fill the middle.

    Raises:
        ValueError: a line that is no such assignment, an unknown operation or name, or more lines than nodes.
    """
    if not 1 <= len(steps) <= size:
        raise ValueError(f"{len(steps)} lines for a graph of {size} nodes: give between 1 and {size}")
    places = {name: index for index, name in enumerate(LEAVES)}
    nodes: list[Node] = []
    for step in steps:
        name, equals, expression = (part.strip() for part in step.partition("="))
        operation, *operands = expression.split() or [""]
        if not equals or operation not in OPERATIONS or any(operand not in places for operand in operands):
            raise ValueError(f'{step!r} is no node: write "name = operation a [b]" with names from before it')
        if len(operands) != (2 if is_binary(OPERATIONS.index(operation)) else 1):
            raise ValueError(f"{step!r}: {operation} got {len(operands)} operands")
        a, b = (places[operand] for operand in (*operands, *operands)[:2])
        nodes.append((OPERATIONS.index(operation), a, b))
        places[name] = len(LEAVES) + len(nodes) - 1
    return Graph((*nodes[:-1], *[(0, 0, 0)] * (size - len(nodes)), nodes[-1]))


known: dict[str, Graph] = {
    "batch-norm-relu": graph_of(
        "m = mean-batch x", "n = neg m", "c = add x n", "s = std-batch x", "y = div c s", "o = max y 0"
    ),
    "group-norm-relu": graph_of(
        "m = mean-group x", "n = neg m", "c = add x n", "s = std-group x", "y = div c s", "o = max y 0"
    ),
    "evonorm-b0": graph_of(
        "a = mul v1 x", "i = std-instance x", "r = add a i", "l = std-batch x", "d = max l r", "o = div x d"
    ),
    "evonorm-b1": graph_of(
        "i = rms-instance x", "a = mul x i", "r = add a i", "l = std-batch x", "d = max l r", "o = div x d"
    ),
    "evonorm-b2": graph_of(
        "n = neg x", "i = rms-instance x", "r = add i n", "l = std-batch x", "d = max l r", "o = div x d"
    ),
    "evonorm-s0": graph_of("a = mul v1 x", "g = sigmoid a", "n = mul x g", "s = std-group x", "o = div n s"),
    "evonorm-s1": graph_of("g = sigmoid x", "n = mul x g", "s = std-group x", "o = div n s"),
    "evonorm-s2": graph_of("g = sigmoid x", "n = mul x g", "s = rms-group x", "o = div n s"),
}
"""Graphs by name; EvoNorm-B1's (x + 1)·r is written x·r + r, as the space has no constant 1."""
