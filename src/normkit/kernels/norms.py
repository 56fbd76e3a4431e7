"""The native row norms made differentiable: LayerNorm, RMSNorm and CRMSNorm, with an optional residual sum."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.graph import increment_version

from normkit.kernels import differentiable, native, native_norms
from normkit.kernels.arguments import mixed_residual
from normkit.kernels.native_norms import COMPRESSED, LAYER, RMS, RowNorm
from normkit.kernels.reference import norms as reference

__all__ = [
    "COMPRESSED",
    "FLOAT32_EPS",
    "LAYER",
    "RMS",
    "WHY_NOT",
    "crms_norm",
    "layer_norm",
    "quick",
    "rms_norm",
    "supports",
]

WHY_NOT: str = native_norms.WHY_NOT
FLOAT32_EPS = torch.finfo(torch.float32).eps


def supports(op: str, input: Tensor, *args: Any) -> str | None:
    """None if the native kernel can do this call, else the reason why not."""
    if WHY_NOT:
        return WHY_NOT
    if op == "rms_norm" and args[5] == "llama" and (args[3] is not None or args[4]) and input.dtype != torch.float32:
        return "in half precision cast='llama' rounds after each step, of which the kernel knows the first and the last"
    return mixed_residual(op, input, args) or differentiable.objection(input, args, native_norms.DTYPES)


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    residual: Tensor | None = None,
    prenorm: bool = False,
    *,
    out: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """y = (s − μ)/sqrt(σ² + ε) · w + b of s = input, or input + residual; with `prenorm` s as well."""
    return _norm(RowNorm(LAYER, prod(normalized_shape), eps), input, residual, weight, bias, prenorm, out)


def rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    eps: float | None,
    bias: Tensor | None = None,
    offset: float = 0.0,
    cast: str = "torch",
    residual: Tensor | None = None,
    prenorm: bool = False,
    *,
    out: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """y = s/sqrt(mean s² + ε) · (offset + w) + b of s = input, or input + residual; with `prenorm` s as well."""
    how = RowNorm(RMS, prod(normalized_shape), FLOAT32_EPS if eps is None else eps, offset, cast == "llama")
    if how.round_first and input.dtype is not torch.float32:
        weight, bias = (None if each is None else each.to(input.dtype) for each in (weight, bias))
    return _norm(how, input, residual, weight, bias, prenorm, out)


def crms_norm(input: Tensor, weight: Tensor | None, eps: float, *, out: Tensor | None = None) -> Tensor:
    """y = z/sqrt((Σ z² + (Σ z)²)/d + ε) · w, d one more than the entries given."""
    y = _norm(RowNorm(COMPRESSED, input.shape[-1], eps), input, None, weight, None, False, out)
    assert isinstance(y, Tensor)
    return y


def quick(
    operation: int,
    input: Tensor,
    normalized_shape: Sequence[int] | None,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    offset: float = 0.0,
    residual: Tensor | None = None,
    prenorm: bool = False,
    out: Tensor | None = None,
) -> Any:
    """The commonest calls at once, their checks in C++: dense float32 rows on the CPU; None for all else."""
    if native.norm_rows is None or forward_ad._current_level >= 0:
        return None
    try:
        record = differentiable.recorded(input, residual, weight, bias)
    except AttributeError:  # no tensor: the checks that follow say so
        return None
    if residual is not None and residual.shape != input.shape:
        return None
    if out is not None and (record or out.shape != input.shape or (prenorm and residual is None)):
        return None
    keep_sum = residual is not None and (prenorm or record)
    found = native.norm_rows(
        operation, input, normalized_shape, weight, bias, eps, offset, residual, keep_sum, record, out
    )
    if found is None:
        return None
    if record:
        how = RowNorm(operation, input.shape[-1], eps, offset)
        return _recorded(how, input, residual, weight, bias, found, prenorm)
    if out is not None:
        increment_version(out)
    if not prenorm:
        return found
    return found[:2] if keep_sum else (found, input)


def _recorded(
    how: RowNorm,
    input: Tensor,
    residual: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    computed: tuple[Tensor, Tensor | None, Tensor],
    prenorm: bool,
) -> Any:
    """What has been computed, y, the sum and the scales, as autograd knows it."""
    y, summed, scales = computed
    if residual is None:
        y = differentiable.apply(_Norm, input, weight, bias, (y, scales), how)
        return (y, input) if prenorm else y
    y, summed = differentiable.apply(_SumNorm, input, residual, weight, bias, (y, summed, scales), how)
    return (y, summed) if prenorm else y


def _norm(
    how: RowNorm,
    input: Tensor,
    residual: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    prenorm: bool,
    out: Tensor | None,
) -> Any:
    record = out is None and differentiable.recorded(input, residual, weight, bias)
    keep_sum = prenorm or (record and residual is not None)
    y, summed, scales = native_norms.norm(
        how, input, residual, weight, bias, out=out, keep_sum=keep_sum, keep_scales=record
    )
    if record:
        assert scales is not None
        return _recorded(how, input, residual, weight, bias, (y, summed, scales), prenorm)
    differentiable.written(y, out)
    return (y, input if residual is None else summed) if prenorm else y


class _Norm(torch.autograd.Function):
    """What has been computed enters the graph: y, from the input and the scales of its rows."""

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        computed: tuple[Tensor, Tensor],
        how: RowNorm,
    ) -> Tensor:
        y, scales = computed
        ctx.save_for_backward(input, weight, bias, scales)
        ctx.how = how
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, scales = ctx.saved_tensors
        return *_gradients(ctx, inputs, scales, grad, None, ctx.needs_input_grad[1:3]), None, None


class _SumNorm(torch.autograd.Function):
    """With a residual: the sum is an output, whose own gradient is added to that of the norm."""

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        residual: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        computed: tuple[Tensor, Tensor, Tensor],
        how: RowNorm,
    ) -> tuple[Tensor, Tensor]:
        y, summed, scales = computed
        ctx.save_for_backward(summed, weight, bias, scales)
        ctx.set_materialize_grads(False)
        if not (ctx.needs_input_grad[0] or ctx.needs_input_grad[1]):
            ctx.mark_non_differentiable(summed)
        ctx.how = how
        return y, summed

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, grad_sum: Tensor | None) -> tuple[Tensor | None, ...]:
        *inputs, scales = ctx.saved_tensors
        if grad is None:
            return grad_sum, grad_sum, None, None, None, None
        dx, d_weight, d_bias = _gradients(ctx, inputs, scales, grad, grad_sum, ctx.needs_input_grad[2:4])
        return dx, dx, d_weight, d_bias, None, None


def _gradients(
    ctx: Any,
    inputs: Sequence[Tensor | None],
    scales: Tensor,
    grad: Tensor,
    grad_sum: Tensor | None,
    wanted: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """Gradients for the sum, the weight and the bias."""
    summed, weight, _ = inputs
    assert summed is not None
    of_weight, of_bias = wanted
    how = ctx.how
    if native.norm_rows_backward is not None and summed.shape[-1] == how.dim and not torch.is_grad_enabled():
        found = native.norm_rows_backward(
            how.operation, summed, grad, grad_sum, weight, scales, how.offset, of_weight, of_bias
        )
        if found is not None:
            return cast(differentiable.Gradients, found)
    if differentiable.by_hand(grad, grad_sum):
        found = native_norms.norm_backward(
            how, summed, weight, scales, grad, grad_sum, of_weight=of_weight, of_bias=of_bias
        )
        return differentiable.typed(found, inputs)
    dx, *others = differentiable.by_formula(_formula(how, summed), inputs, grad)
    return (dx if grad_sum is None or dx is None else dx + grad_sum), *others


def _formula(how: RowNorm, summed: Tensor) -> Callable[..., Tensor]:
    """The reference as a function of the sum, the weight and the bias."""

    def formula(s: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        rows = s.reshape(*_leading(s, how.dim), how.dim)
        gain, shift = (None if each is None else each.flatten() for each in (weight, bias))
        y: Any
        if how.operation == LAYER:
            y = reference.layer_norm(rows, (how.dim,), gain, shift, how.eps)
        elif how.operation == COMPRESSED:
            y = reference.crms_norm(rows, gain, how.eps)
        else:
            rounding = "llama" if how.round_first else "torch"
            y = reference.rms_norm(rows, (how.dim,), gain, how.eps, shift, how.offset, rounding)
        return cast(Tensor, y.view_as(s))

    return formula


def _leading(s: Tensor, dim: int) -> list[int]:
    """The sizes of the axes before those that make a row."""
    sizes, row = list(s.shape), 1
    while row < dim:
        row *= sizes.pop()
    return sizes
