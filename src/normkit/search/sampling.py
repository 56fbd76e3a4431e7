"""Random graphs, and random changes of one.

`uniform` is the paper's: almost every graph is worthless (see the paper page for the measured share). `tree`, this
project's, grows a small expression and finds a usable layer often enough for a search on a processor.

Source: Liu et al. 2020, "Evolving Normalization-Activation Layers", arXiv:2004.02967, section 3 (uniform, mutation).
"""

from collections.abc import Callable, Sequence

import numpy as np

from normkit.nn.graph import LEAVES, Graph, Node
from normkit.nn.primitives import BINARY, OPERATIONS, UNARY, is_binary, moment_of
from normkit.search.known import NODES

__all__ = ["SAMPLERS", "Sampler", "mutate", "operations", "tree", "uniform"]

Sampler = Callable[[np.random.Generator, Sequence[int]], Graph]
"""`sampler(rng, operations)` draws a graph of the operations with these ids."""

DEPTH = 3
_LEAF = 0.45
_LEAVES = {"x": 0.7, "0": 0.1, "v1": 0.2}
_FAMILIES = {"binary": 0.5, "unary": 0.25, "moment": 0.25}


def operations(ops: str | Sequence[int | str]) -> tuple[int, ...]:
    """The ids of the operations that a search may use.

    Args:
        ops: "B" for all of them; "S" for those that look at one sample alone; or ids or names one by one.

    Raises:
        ValueError: another word, an unknown operation, or none.
    """
    everything = range(len(OPERATIONS))
    if ops == "B":
        return tuple(everything)
    if ops == "S":
        return tuple(each for each in everything if (moment_of(each) or ("", ""))[1] != "batch")
    if isinstance(ops, str):
        raise ValueError(f"ops={ops!r}: 'B' takes all operations, 'S' those of one sample; or give a list of them")
    ids = [OPERATIONS.index(each) if each in OPERATIONS else each for each in ops]
    if unknown := [each for each in ids if each not in everything]:
        raise ValueError(f"there is no operation {unknown[0]!r}; there are {', '.join(OPERATIONS)}")
    if not ids:
        raise ValueError("ops is empty: a search needs operations")
    return tuple(sorted({int(each) for each in ids}))


def uniform(rng: np.random.Generator, ops: Sequence[int]) -> Graph:
    """Every node's operation uniform, its operands uniform among the nodes before it."""
    return Graph([_node(rng, ops, index) for index in _places(NODES)])


def tree(rng: np.random.Generator, ops: Sequence[int]) -> Graph:
    """An expression grown from the output, at most `DEPTH` operations deep, filled up with nodes that nothing reads."""
    nodes: list[Node] = []
    _grow(rng, ops, nodes, DEPTH, root=True)
    unused = [_node(rng, ops, index) for index in _places(NODES - 1)[len(nodes) - 1 :]]
    return Graph([*nodes[:-1], *unused, nodes[-1]])


SAMPLERS: dict[str, Sampler] = {"tree": tree, "uniform": uniform}


def mutate(graph: Graph, rng: np.random.Generator, ops: Sequence[int], *, focus: float, whole: float) -> Graph:
    """A copy with one node redrawn.

    Args:
        graph: the parent.
        rng: draws the node and what becomes of it.
        ops: ids of the operations that may be drawn.
        focus: with this probability the node is drawn among those that the output depends on, else among all (0 in the
            paper).
        whole: with this probability operation and operands are redrawn, else one of the two (1 in the paper).
    """
    computed = [index for index in graph.reachable if index >= len(LEAVES)]
    index = int(rng.choice(computed if rng.random() < focus else _places(len(graph.nodes))))
    operation, *operands = graph.nodes[index - len(LEAVES)]
    new_operation, *new_operands = _node(rng, ops, index)
    if rng.random() >= whole:
        if rng.random() < 0.5:
            new_operation = operation
        else:
            new_operands = operands
    nodes = list(graph.nodes)
    nodes[index - len(LEAVES)] = (new_operation, new_operands[0], new_operands[1])
    return Graph(nodes)


def _places(count: int) -> range:
    """The indices of `count` nodes behind the given ones."""
    return range(len(LEAVES), len(LEAVES) + count)


def _node(rng: np.random.Generator, ops: Sequence[int], index: int) -> Node:
    return int(rng.choice(ops)), int(rng.integers(index)), int(rng.integers(index))


def _grow(rng: np.random.Generator, ops: Sequence[int], nodes: list[Node], depth: int, root: bool = False) -> int:
    """Append an expression in post-order; returns the index of its top."""
    if depth == 0 or (not root and rng.random() < _LEAF):
        return LEAVES.index(str(rng.choice(list(_LEAVES), p=list(_LEAVES.values()))))
    operation = _operation(rng, ops)
    a = _grow(rng, ops, nodes, depth - 1)
    b = _grow(rng, ops, nodes, depth - 1) if is_binary(operation) else 0
    nodes.append((operation, a, b))
    return len(LEAVES) + len(nodes) - 1


def _operation(rng: np.random.Generator, ops: Sequence[int]) -> int:
    """First the family, then the operation; families of which `ops` has none are left out."""
    members = {
        "binary": [each for each in ops if is_binary(each)],
        "unary": [each for each in ops if len(BINARY) <= each < len(BINARY) + len(UNARY)],
        "moment": [each for each in ops if moment_of(each)],
    }
    there = [family for family in _FAMILIES if members[family]]
    weights = np.array([_FAMILIES[family] for family in there])
    return int(rng.choice(members[str(rng.choice(there, p=weights / weights.sum()))]))
