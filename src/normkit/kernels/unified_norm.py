"""Unified normalisation by column kernels: each pass over x reads it once.

The statistics of the channels, and the order of the steps, are those of `kernels/reference/unified_norm.py`.
"""

from typing import Any

import torch
from torch import Tensor

from normkit.kernels import differentiable, native_columns
from normkit.kernels.columns import Columns
from normkit.kernels.reference import unified_norm as reference

__all__ = ["WHY_NOT", "by_columns", "passes_of", "prefers", "supports", "unified_norm"]

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
    return by_columns(_NATIVE, input, weight, bias, running_var, *args)


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
