"""Unified normalisation by the native column kernels: each pass over x reads it once.

The statistics of the channels, and the order of the steps, are those of `kernels/reference/unified_norm.py`.
"""

from typing import Any

import torch
from torch import Tensor

from normkit.kernels import differentiable, native_columns
from normkit.kernels.reference import unified_norm as reference

__all__ = ["WHY_NOT", "prefers", "supports", "unified_norm"]

WHY_NOT: str = native_columns.WHY_NOT
_BREAK_EVEN = 24 << 10  # elements


def supports(op: str, input: Tensor, *args: Any, **options: Any) -> str | None:
    """None if the native kernels can do this call, else the reason why not."""
    return differentiable.objection(input, args, native_columns.DTYPES)


def prefers(op: str, input: Tensor, *args: Any, **options: Any) -> str | None:
    """None, or why torch is quicker: with `normkit.benchmarks.unified_norm` the two break even at about this size."""
    return f"torch is quicker below {_BREAK_EVEN} elements" if input.numel() < _BREAK_EVEN else None


def unified_norm(input: Tensor, weight: Tensor, bias: Tensor, running_var: Tensor, *args: Any) -> Tensor:
    """y = γ x / sqrt(σ² + ε) + β; arguments as `normkit.functional.unified_norm`."""
    evaluates = len(args) < 7 or not args[6]
    if evaluates and differentiable.recorded(input, weight, bias, running_var):
        return reference.unified_norm(input, weight, bias, running_var, *args)
    return reference.unified_norm(input, weight, bias, running_var, *args, passes=_NATIVE)


def _squares(input: Tensor, pad_mask: Tensor | None) -> Tensor:
    _, _, sums = native_columns.forward(input, left_out=pad_mask, summed=True)
    assert sums is not None
    return sums[0].to(torch.float32)


def _scaled(input: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    y, _, _ = native_columns.forward(input.detach(), scale, shift)
    assert y is not None
    return y


def _along(input: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    if not differentiable.plain(gradient):  # many gradients at once
        return reference.TORCH.along(input, gradient)
    _, sums = native_columns.backward(input, gradient, summed=True)
    assert sums is not None
    along, alone = sums.to(torch.float32)
    return along, alone


def _gradient(input: Tensor, gradient: Tensor, of_gradient: Tensor, of_input: Tensor) -> Tensor:
    if not (differentiable.plain(gradient) and differentiable.plain(of_input)):
        return reference.TORCH.gradient(input, gradient, of_gradient, of_input)
    dx, _ = native_columns.backward(input, gradient, of_gradient, of_input)
    assert dx is not None
    return dx


_NATIVE = reference.Passes(_squares, _scaled, _along, _gradient)
