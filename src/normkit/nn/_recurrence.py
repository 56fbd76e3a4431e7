"""What every recurrent layer is made of: the weights of one direction, the equation of a step, the walk over time.

A batch of sequences is walked through as a packed one: the rows of all steps below each other, step by step, and how
many each step has. Padded input is the case in which every step has as many. So one loop serves both.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.modules.module import _has_any_global_hook

from normkit.kernels.arguments import check_eps
from normkit.kernels.dispatch import tracing
from normkit.kernels.reference._precision import statistics_dtype
from normkit.nn.layer_norm import LayerNorm

__all__ = [
    "Recurrence",
    "RecurrentInputError",
    "State",
    "Weights",
    "build_norms",
    "by_steps",
    "check_dtype",
    "check_norms",
    "normed",
    "plain_norm",
    "product",
    "scan",
    "weights_of",
]

State = tuple[Tensor, ...]
"""(h,) or (h, c), each (rows, hidden_size)."""


class RecurrentInputError(ValueError, RuntimeError):
    """A size or type that does not fit: a ValueError as in all layers here, and a RuntimeError as in torch.nn."""


class Weights(NamedTuple):
    """The parameters of one direction of one layer; `norms` by their names without the layer's suffix."""

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor | None
    bias_hh: Tensor | None
    norms: Mapping[str, Any]


@dataclass(frozen=True)
class Recurrence:
    """The equation of a recurrent layer.

    Args:
        gates: rows of the weight matrices, in hidden sizes.
        states: how many tensors are carried from step to step.
        norms: name of each norm and its width in hidden sizes.
        project: what the input contributes, for the rows of any number of steps at once.
        step: the state behind a step, from what the input contributes and the state before.
        whole: all steps at once where every step has as many rows: `whole(weights, z, steps, initial, reverse)`; None
            where it cannot. It gives what the steps give, in less time.
    """

    gates: int
    states: int
    norms: Mapping[str, int]
    project: Callable[[Weights, Tensor], Tensor]
    step: Callable[[Weights, Tensor, State], State]
    whole: Callable[[Weights, Tensor, int, State, bool], tuple[Tensor, State] | None] | None = None


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """W x + b, computed in the weight's type (or autocast's); what follows it in a step is float32 or wider.

    A recurrence enlarges rounding errors from step to step, so that gates and states in half precision would be worth
    little after some dozens of steps.
    """
    summed = linear(x.to(weight.dtype), weight, bias)
    return summed.to(statistics_dtype(summed.dtype))


def normed(weights: Weights, name: str, x: Tensor) -> Tensor:
    """x, normalised by the norm of that name where there is one."""
    normalized = weights.norms[name](x) if name in weights.norms else x
    assert isinstance(normalized, Tensor)
    return normalized


def plain_norm(weights: Weights, name: str, width: int) -> LayerNorm | None:
    """The norm if it is a LayerNorm of that width whose call is its formula: no hooks, nothing patched or exchanged."""
    norm = weights.norms.get(name)
    if type(norm) is not LayerNorm or norm.normalized_shape != (width,) or norm.weight is None or norm.bias is None:
        return None
    hooks = (norm._forward_hooks, norm._forward_pre_hooks, norm._backward_hooks, norm._backward_pre_hooks)
    return None if any(hooks) or "forward" in vars(norm) or _has_any_global_hook() else norm


def build_norms(
    module: nn.Module, recurrence: Recurrence, hidden_size: int, eps: float, suffix: str, **factory: Any
) -> None:
    """Give `module` a LayerNorm `name + suffix` for each norm of the recurrence."""
    for name, width in recurrence.norms.items():
        module.add_module(name + suffix, LayerNorm(width * hidden_size, eps, **factory))


def check_norms(name: str, hidden_size: int, eps: float, layer_norm: bool) -> None:
    """Raise ValueError where a norm would have one unit to normalise, or for an `eps` below 0."""
    check_eps(name, eps)
    if layer_norm and hidden_size == 1:
        raise ValueError(
            f"{name}: hidden_size 1 leaves the norm one unit, whose normalised value is 0: the output would be "
            "constant; give hidden_size 2 or more, or layer_norm=False"
        )


def check_dtype(name: str, what: str, tensor: Tensor, weight: Tensor) -> None:
    """Raise unless the tensor has the weights' type, or autocast chooses types."""
    if tensor.dtype != weight.dtype and not torch.is_autocast_enabled(tensor.device.type):
        raise RecurrentInputError(
            f"{name}: RNN {what} dtype ({tensor.dtype}) does not match weight dtype ({weight.dtype}). Convert {what}: "
            f"{what}.to({weight.dtype}), or convert model: model.to({tensor.dtype})"
        )


def weights_of(module: nn.Module, recurrence: Recurrence, suffix: str) -> Weights:
    """The parameters of `module` whose names end in `suffix`."""
    weight_ih, weight_hh, bias_ih, bias_hh = (
        getattr(module, name + suffix, None) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    assert weight_ih is not None
    assert weight_hh is not None
    found = {name: getattr(module, name + suffix, None) for name in recurrence.norms}
    norms = {name: norm for name, norm in found.items() if norm is not None}
    return Weights(weight_ih, weight_hh, bias_ih, bias_hh, norms)


def scan(
    recurrence: Recurrence, weights: Weights, x: Tensor, sizes: Sequence[Any], initial: State, reverse: bool
) -> tuple[Tensor, State]:
    """Walk over the steps: the rows of h of all steps, and each sequence's last state, all in the weights' type.

    Args:
        recurrence: the equation.
        weights: its parameters.
        x: (rows of all steps, input_size).
        sizes: rows of each step, never growing: the sequences that are that long.
        initial: the state before the first step, a row for each sequence.
        reverse: from the last step to the first; each sequence starts at its own end.
    """
    dtype = weights.weight_hh.dtype
    initial = tuple(each.to(statistics_dtype(each.dtype)) for each in initial)
    output, state = _scan(recurrence, weights, recurrence.project(weights, x), sizes, initial, reverse)
    return output.to(dtype), tuple(each.to(dtype) for each in state)


def _scan(
    recurrence: Recurrence, weights: Weights, z: Tensor, sizes: Sequence[Any], initial: State, reverse: bool
) -> tuple[Tensor, State]:
    if recurrence.whole is not None and not tracing() and sizes[0] == sizes[-1]:
        found = recurrence.whole(weights, z, len(sizes), initial, reverse)
        if found is not None:
            return found
    return by_steps(recurrence, weights, z, sizes, initial, reverse)


def by_steps(
    recurrence: Recurrence, weights: Weights, z: Tensor, sizes: Sequence[Any], initial: State, reverse: bool
) -> tuple[Tensor, State]:
    """`scan` step by step, from what the input contributes."""
    walk = _backwards if reverse else _forwards
    return walk(recurrence, weights, z.split(list(sizes)), initial)


def _forwards(
    recurrence: Recurrence, weights: Weights, contributions: Sequence[Tensor], state: State
) -> tuple[Tensor, State]:
    outputs, ended = [], []
    for z in contributions:
        rows = z.shape[0]
        if rows != state[0].shape[0]:
            ended.append(tuple(each[rows:] for each in state))
            state = tuple(each[:rows] for each in state)
        state = recurrence.step(weights, z, state)
        outputs.append(state[0])
    if ended:
        state = tuple(torch.cat(parts) for parts in zip(state, *reversed(ended), strict=True))
    return torch.cat(outputs), state


def _backwards(
    recurrence: Recurrence, weights: Weights, contributions: Sequence[Tensor], initial: State
) -> tuple[Tensor, State]:
    outputs = []
    state = tuple(each[: contributions[-1].shape[0]] for each in initial)
    for z in reversed(contributions):
        rows, before = z.shape[0], state[0].shape[0]
        if rows != before:
            starting = (each[before:rows] for each in initial)
            state = tuple(torch.cat(parts) for parts in zip(state, starting, strict=True))
        state = recurrence.step(weights, z, state)
        outputs.append(state[0])
    return torch.cat(outputs[::-1]), state
