"""A normalisation-activation layer as a graph of primitive operations.

Nodes 0 … 3 are given: the input x, the constant 0, and two vectors of one value a channel, v₀ (starts at 0) and v₁
(starts at 1). Every further node is (operation, a, b), with operands that stand before it; the last one is the output.

Source: Liu et al. 2020, "Evolving Normalization-Activation Layers", arXiv:2004.02967, section 3.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from jaxtyping import Float
from torch import Tensor

from normkit.nn.primitives import BINARY, OPERATIONS, UNARY, Moments, is_binary, moment, moment_of

__all__ = ["LEAVES", "Graph", "Node", "evaluate"]

LEAVES = ("x", "0", "v0", "v1")
"""The nodes that are given, by their place."""

Node = tuple[int, int, int]
"""Operation id, first and second operand; a unary operation ignores the second."""


class Graph:
    """A graph of primitive operations; node 4 + i of the whole is `nodes[i]`, and the last is the output.

    Args:
        nodes: three whole numbers (operation, a, b) each, as lists, tuples or an array; ten in the paper.

    Raises:
        ValueError: no node, a node that is no triple, an operation that does not exist, or an operand that does not
            stand before its node.
    """

    def __init__(self, nodes: Iterable[Any]) -> None:
        self.nodes: tuple[Node, ...] = tuple(_node(node) for node in nodes)
        if not self.nodes:
            raise ValueError("a graph needs at least one node (operation, a, b)")
        for index, node in enumerate(self.nodes, len(LEAVES)):
            _check(index, node)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and self.nodes == other.nodes

    def __hash__(self) -> int:
        return hash(self.nodes)

    def __repr__(self) -> str:
        return f"Graph({self.to_list()})"

    @property
    def output(self) -> int:
        """The index of the output: the last node."""
        return len(LEAVES) + len(self.nodes) - 1

    def operation(self, index: int) -> str:
        """The name of a node's operation, such as "div" or "std-group"; `index` counts the given nodes too."""
        return OPERATIONS[self.nodes[index - len(LEAVES)][0]]

    def operands(self, index: int) -> tuple[int, ...]:
        """What a node reads: none for the given nodes, else one or two."""
        if index < len(LEAVES):
            return ()
        operation, a, b = self.nodes[index - len(LEAVES)]
        return (a, b) if is_binary(operation) else (a,)

    @cached_property
    def reachable(self) -> tuple[int, ...]:
        """The nodes that the output depends on, in order; only these are computed."""
        found = {self.output}
        for index in range(self.output, len(LEAVES) - 1, -1):
            if index in found:
                found.update(self.operands(index))
        return tuple(sorted(found))

    @property
    def active(self) -> tuple[bool, ...]:
        """Whether each node, the four given ones included, is reachable from the output."""
        return tuple(index in self.reachable for index in range(self.output + 1))

    @property
    def reads_input(self) -> bool:
        """Whether the output depends on x."""
        return 0 in self.reachable

    def moments(self, axes: str | None = None) -> tuple[int, ...]:
        """The reachable nodes that are moments, over these axes ("batch", "instance", "layer", "group") or any."""
        found = ((index, moment_of(self.nodes[index - len(LEAVES)][0])) for index in self._computed)
        return tuple(index for index, what in found if what is not None and axes in (None, what[1]))

    @property
    def _computed(self) -> tuple[int, ...]:
        return tuple(index for index in self.reachable if index >= len(LEAVES))

    def formula(self) -> str:
        """The reachable part as a formula; what is used more than once gets a name: "t / rms_batch(t), t = tanh(x)"."""
        uses = Counter(operand for index in self._computed for operand in self.operands(index))
        shared = [index for index in self._computed if uses[index] > 1]
        names = {index: f"t{place}" if len(shared) > 1 else "t" for place, index in enumerate(shared, 1)}
        texts = dict(enumerate(LEAVES))
        parts = []
        for index in self._computed:
            operands = [texts[operand] for operand in self.operands(index)]
            texts[index] = _term(self.operation(index), *operands)
            if index in names:
                parts.append(f"{names[index]} = {_bare(texts[index])}")
                texts[index] = names[index]
        return ", ".join([_bare(texts[self.output]), *parts])

    def __str__(self) -> str:
        return self.formula()

    def to_list(self) -> list[list[int]]:
        """The nodes as plain lists, for JSON; `Graph(nodes)` reads them again."""
        return [list(node) for node in self.nodes]


def evaluate(
    graph: Graph,
    x: Float[Tensor, "batch channels *space"],
    v0: Float[Tensor, " channels"] | None,
    v1: Float[Tensor, " channels"] | None,
    groups: int,
    eps: float = 1e-5,
    per_channel: Mapping[int, Moments] | None = None,
) -> Float[Tensor, "..."]:
    """The output node, not yet expanded to x's shape; the type of x is kept.

    Args:
        graph: what to compute.
        x: node 0.
        v0: node 2; None stands for zeros.
        v1: node 3; None stands for ones.
        groups: for the moments over groups of channels.
        eps: ε inside the roots of the second moments.
        per_channel: for moments over the batch, by node: what gives mean and variance of each channel in place of the
            operand's own.
    """
    shape = (1, -1, *[1] * (x.ndim - 2))
    zero, one = x.new_zeros(()).reshape([1] * x.ndim), x.new_ones(()).reshape([1] * x.ndim)
    values: dict[int, Tensor] = {0: x, 1: zero}
    values[2] = zero if v0 is None else v0.to(x.dtype).reshape(shape)
    values[3] = one if v1 is None else v1.to(x.dtype).reshape(shape)
    for index in graph.reachable:
        if index < len(LEAVES):
            continue
        name, operands = graph.operation(index), [values[operand] for operand in graph.operands(index)]
        if name in BINARY:
            values[index] = BINARY[name](*operands)
        elif name in UNARY:
            values[index] = UNARY[name](*operands)
        else:
            kind, _, axes = name.partition("-")
            given = (per_channel or {}).get(index)
            values[index] = moment(kind, axes, operands[0].expand(x.shape), groups, eps, given)
    return values[graph.output]


def _node(node: Any) -> Node:
    numbers: Sequence[Any] = list(node) if isinstance(node, Iterable) else []
    if len(numbers) != 3 or any(int(number) != number for number in numbers):
        raise ValueError(f"a node is three whole numbers (operation, a, b), got {node!r}")
    operation, a, b = (int(number) for number in numbers)
    return operation, a, b


def _check(index: int, node: Node) -> None:
    operation, *operands = node
    if not 0 <= operation < len(OPERATIONS):
        raise ValueError(f"node {index}: there is no operation {operation}; they go from 0 to {len(OPERATIONS) - 1}")
    for operand in operands[: 2 if is_binary(operation) else 1]:
        if not 0 <= operand < index:
            raise ValueError(
                f"node {index} ({OPERATIONS[operation]}) reads node {operand}: operands stand before their node, "
                f"from 0 to {index - 1}"
            )


def _bare(text: str) -> str:
    """Without the brackets that only a term inside another needs."""
    return text[1:-1] if text.startswith("(") and text.endswith(")") else text


# A sum, product or quotient stands in brackets; `_bare` takes the outermost ones away again.
_FORMULAS: dict[str, Callable[..., str]] = {
    "add": "({} + {})".format,
    "mul": "({} · {})".format,
    "div": "({} / {})".format,
    "max": lambda a, b: f"max({_bare(a)}, {_bare(b)})",
    "neg": "(−{})".format,
    "sigmoid": lambda a: f"σ({_bare(a)})",
    "tanh": lambda a: f"tanh({_bare(a)})",
    "exp": lambda a: f"exp({_bare(a)})",
    "log": lambda a: f"log({_bare(a)})",
    "abs": lambda a: f"|{_bare(a)}|",
    "square": "{}²".format,
    "sqrt": lambda a: f"sqrt({_bare(a)})",
}


def _term(operation: str, *operands: str) -> str:
    """One operation as text."""
    if operation == "add" and operands[1].startswith("(−"):
        return f"({operands[0]} − {operands[1][2:]}"
    if operation in _FORMULAS:
        return _FORMULAS[operation](*operands)
    return f"{operation.replace('-', '_')}({_bare(operands[0])})"  # a moment
