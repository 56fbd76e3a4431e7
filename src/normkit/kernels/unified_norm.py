"""Unified normalisation by column kernels: each pass over x reads it once.

The statistics of the channels, and the order of the steps, are those of `kernels/reference/unified_norm.py`. On a CPU
they are moved by native code too (`native_unified_step`), where no other rank has a part in them.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from normkit.kernels import differentiable, native_columns, native_unified_step
from normkit.kernels.columns import Columns
from normkit.kernels.reference import unified_norm as reference
from normkit.kernels.reference.means import Reduce
from normkit.kernels.reference.unified_statistics import Step

__all__ = ["WHY_NOT", "by_columns", "passes_of", "prefers", "supports", "unified_norm"]

WHY_NOT: str = native_columns.WHY_NOT


def supports(op: str, input: Tensor, *args: Any, **options: Any) -> str | None:
    """None if the native kernels can do this call, else the reason why not."""
    return differentiable.objection(input, args, native_columns.DTYPES)


def prefers(op: str, input: Tensor, *args: Any) -> str | None:
    """None, or why the formulas are quicker for a call that the kernels could do."""
    training = bool(args[9])
    return native_columns.too_narrow(input, training, 3 if training else 1)


def unified_norm(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_var: Tensor,
    ema_gz: Tensor | None = None,
    buffer_x2: Tensor | None = None,
    buffer_gz: Tensor | None = None,
    iters: Tensor | None = None,
    skip_counter: Tensor | None = None,
    pad_mask: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.9,
    warmup_iters: int = 4000,
    outlier_filtration: bool = False,
    eps: float = 1e-5,
    reduce: Reduce | None = None,
) -> Tensor:
    """y = γ x / sqrt(σ² + ε) + β; arguments as `normkit.functional.unified_norm`."""
    state = (ema_gz, buffer_x2, buffer_gz, iters, skip_counter)
    options = (momentum, warmup_iters, outlier_filtration, eps)
    if not training or reduce is not None or not native_columns.holds(running_var, *state):
        return by_columns(_NATIVE, input, weight, bias, running_var, *state, pad_mask, training, *options, reduce)
    return _trained(input, weight, bias, running_var, *state, pad_mask, *options)


class _Backward(NamedTuple):
    """What the forward pass of a training step leaves to its backward pass, beside x and γ."""

    step: native_unified_step.Step
    ema_gz: Tensor
    buffer_gz: Tensor
    momentum: float
    warmup_iters: int


def _trained(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_var: Tensor,
    ema_gz: Tensor | None,
    buffer_x2: Tensor | None,
    buffer_gz: Tensor | None,
    iters: Tensor | None,
    skip_counter: Tensor | None,
    pad_mask: Tensor | None,
    momentum: float,
    warmup_iters: int,
    outlier_filtration: bool,
    eps: float,
) -> Tensor:
    """A training step whose statistics native code moves."""
    assert ema_gz is not None
    assert buffer_x2 is not None
    assert buffer_gz is not None
    assert iters is not None
    assert skip_counter is not None
    x = input.detach()
    count = _positions(x) if pad_mask is None else int(pad_mask.logical_not().sum())
    squares = native_columns.forward(x, left_out=pad_mask, summed=True)[2]
    assert squares is not None
    moved = (running_var, buffer_x2, iters, skip_counter)
    step = native_unified_step.advance(
        squares[0], count, weight, *moved, momentum, warmup_iters, outlier_filtration, eps
    )
    y = native_columns.forward(x, step.rows[2], bias)[0]
    assert y is not None
    if not differentiable.recorded(input, weight, bias):
        return y
    left = _Backward(step, ema_gz, buffer_gz, momentum, warmup_iters)
    return differentiable.apply(_Trained, input, weight, bias, (y, left))


class _Trained(torch.autograd.Function):
    """A training step enters the graph; its backward pass moves the gradient's state in place."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor, found: tuple[Tensor, _Backward]) -> Tensor:
        # The step is no saved tensor: a checkpoint that computes the call again must not bring that of another step.
        y, ctx.left = found
        ctx.save_for_backward(input, weight)
        ctx.bias_dtype = bias.dtype
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        input, weight = ctx.saved_tensors
        left: _Backward = ctx.left
        if not native_columns.takes(gradient):  # many gradients at once
            return *_by_formula(input, weight, gradient, left), None
        _, sums = native_columns.backward(input, gradient, summed=True)
        assert sums is not None
        found = native_unified_step.smoothed_gradient(sums, _positions(input), weight, *left)
        dx, _ = native_columns.backward(input, gradient, found.of_dy, found.of_x)
        return dx, found.weight.to(weight.dtype), found.bias.to(ctx.bias_dtype), None


def _by_formula(input: Tensor, weight: Tensor, gradient: Tensor, left: _Backward) -> tuple[Tensor, Tensor, Tensor]:
    rstd, ratio, _ = left.step.rows
    step = Step(rstd, ratio, torch.tensor(left.step.number), torch.tensor(left.step.skip))
    return reference.gradients(input, gradient, weight, step, *left[1:], None, reference.TORCH)


def _positions(input: Tensor) -> int:
    return input.shape[:-1].numel()


def by_columns(
    passes: reference.Passes, input: Tensor, weight: Tensor, bias: Tensor, running_var: Tensor, *args: Any
) -> Tensor:
    """The same with the passes of a kernel, where the gradient is not to go through the running statistic's map."""
    evaluates = len(args) < 7 or not args[6]
    if evaluates and differentiable.recorded(input, weight, bias, running_var):
        passes = reference.TORCH
    return reference.unified_norm(input, weight, bias, running_var, *args, passes=passes)


def passes_of(columns: Columns) -> reference.Passes:
    """The passes over all of x by the kernels of `columns`."""

    def squares(input: Tensor, pad_mask: Tensor | None) -> Tensor:
        return columns.forward(input, left_out=pad_mask, summed=True)[2][0].to(torch.float32)

    def scaled(input: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return columns.forward(input.detach(), scale, shift)[0]

    def along(input: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        if not columns.takes(gradient):  # many gradients at once
            return reference.TORCH.along(input, gradient)
        with_x, alone = columns.backward(input, gradient, summed=True)[1].to(torch.float32)
        return with_x, alone

    def gradient_of(input: Tensor, gradient: Tensor, of_gradient: Tensor, of_input: Tensor) -> Tensor:
        if not columns.takes(gradient, of_input):
            return reference.TORCH.gradient(input, gradient, of_gradient, of_input)
        return columns.backward(input, gradient, of_gradient, of_input)[0]

    return reference.Passes(squares, scaled, along, gradient_of)


_NATIVE = passes_of(native_columns)
