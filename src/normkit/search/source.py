"""A graph as Python source: one `nn.Module` in plain torch that needs nothing of normkit."""

import re
from textwrap import indent

from normkit.nn.graph import LEAVES, Graph
from normkit.nn.primitives import moment_of

__all__ = ["source"]

_EXPRESSIONS = {
    "add": "{} + {}",
    "mul": "{} * {}",
    "div": "{} / {}",
    "max": "torch.maximum({}, {})",
    "neg": "-{}",
    "sigmoid": "torch.sigmoid({})",
    "tanh": "torch.tanh({})",
    "exp": "torch.exp({})",
    "log": "{0}.sign() * {0}.abs().log()",
    "abs": "{}.abs()",
    "square": "{}.square()",
    "sqrt": "{0}.sign() * {0}.abs().sqrt()",
}

_TEMPLATE = '''"""{formula}

A layer that normalises and activates, written by normkit.search.source; the search: Liu et al. 2020, arXiv:2004.02967.
"""

import torch
from torch import nn


class {name}(nn.Module):
    """y = graph(x) · weight + bias, for maps (batch, channels, height, width); the graph stands at the top."""

    def __init__(self, num_features, groups=32, momentum=0.1, eps=1e-5):
        super().__init__()
{check}        self.groups, self.momentum, self.eps = groups, momentum, eps
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
{state}
    def forward(self, input):
        x = input if input.dtype == torch.float64 else input.float()
{lines}
        y = {output}.expand(x.shape) * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
        return y.to(input.dtype)
{methods}'''

_CHECK = """        if num_features % groups:
            raise ValueError(f"{num_features} channels cannot be cut into {groups} groups")
"""

_PARTS = {
    "own": """
    def _moment(self, kind, a, dim):
        if kind == "mean":
            return a.mean(dim, keepdim=True)
        if kind == "rms":
            return (a.square().mean(dim, keepdim=True) + self.eps).sqrt()
        return (a.var(dim, correction=0, keepdim=True) + self.eps).sqrt()
""",
    "group": """
    def _group(self, kind, a):
        size = a.shape[1] // self.groups
        cut = self._moment(kind, a.reshape(a.shape[0], self.groups, size, *a.shape[2:]), (2, 3, 4))
        return cut.flatten(1, 2).repeat_interleave(size, 1)
""",
    "batch": """
    def _batch(self, kind, row, a):
        if self.training:
            mean, var = a.mean((0, 2, 3)), a.var((0, 2, 3), correction=0)
            with torch.no_grad():
                new_mean, new_var = mean.to(self.running_mean.dtype), var.to(self.running_var.dtype)
                moved = new_mean - self.running_mean[row]
                self.running_var[row].lerp_(new_var + (1 - self.momentum) * moved**2, self.momentum)
                self.running_mean[row].lerp_(new_mean, self.momentum)
        else:
            mean, var = self.running_mean[row].to(a.dtype), self.running_var[row].to(a.dtype)
        if kind == "mean":
            return mean.view(1, -1, 1, 1)
        return (var + (mean.square() if kind == "rms" else 0) + self.eps).sqrt().view(1, -1, 1, 1)
""",
}


def source(graph: Graph, name: str = "EvolvedNorm2d") -> str:
    """The text of a module with one class, whose `state_dict` is that of `GraphNorm2d(graph, …)`.

    Args:
        graph: what the class computes.
        name: of the class.

    Raises:
        ValueError: `name` is no name of a class.
    """
    if not re.fullmatch(r"[A-Za-z_]\w*", name):
        raise ValueError(f"{name!r} is no name of a class: letters, digits and _ make one")
    batch = graph.moments("batch")
    methods = [_PARTS["own"]] if len(graph.moments()) > len(batch) else []
    methods += [_PARTS["group"]] if graph.moments("group") else []
    methods += [_PARTS["batch"]] if batch else []
    return _TEMPLATE.format(
        name=name,
        formula=graph.formula(),
        check=_CHECK if graph.moments("group") else "",
        state=indent("".join(_state(graph)), " " * 8),
        lines=indent("\n".join(_lines(graph)), " " * 8),
        output=_name(graph.output),
        methods="".join(methods),
    )


def _state(graph: Graph) -> list[str]:
    starts = {2: "zeros", 3: "ones"}
    vectors = [
        f"self.{LEAVES[index]} = nn.Parameter(torch.{start}(num_features))\n"
        for index, start in starts.items()
        if index in graph.reachable
    ]
    if rows := len(graph.moments("batch")):
        vectors.append(f'self.register_buffer("running_mean", torch.zeros({rows}, num_features))\n')
        vectors.append(f'self.register_buffer("running_var", torch.ones({rows}, num_features))\n')
    return vectors


def _name(index: int) -> str:
    return LEAVES[index].replace("0", "zero") if index < 2 else LEAVES[index] if index < len(LEAVES) else f"t{index}"


def _lines(graph: Graph) -> list[str]:
    """One assignment for each node that is reachable."""
    rows = {node: row for row, node in enumerate(graph.moments("batch"))}
    lines = []
    for index in graph.reachable:
        if index >= len(LEAVES):
            lines.append(f"{_name(index)} = {_expression(graph, index, rows)}")
        elif index == 1:
            lines.append("zero = x.new_zeros(1, 1, 1, 1)")
        elif index > 1:
            lines.append(f"{LEAVES[index]} = self.{LEAVES[index]}.view(1, -1, 1, 1)")
    return lines


def _expression(graph: Graph, index: int, rows: dict[int, int]) -> str:
    operands = [_name(operand) for operand in graph.operands(index)]
    what = moment_of(graph.nodes[index - len(LEAVES)][0])
    if what is None:
        return _EXPRESSIONS[graph.operation(index)].format(*operands)
    (kind, axes), a = what, f"{operands[0]}.expand(x.shape)"
    if axes == "batch":
        return f'self._batch("{kind}", {rows[index]}, {a})'
    if axes == "group":
        return f'self._group("{kind}", {a})'
    return f'self._moment("{kind}", {a}, {"(2, 3)" if axes == "instance" else "(1, 2, 3)"})'
