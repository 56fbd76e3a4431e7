"""A kernel's result and gradients against the reference in float64, in units of the type's own rounding."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from normkit.kernels.triton.availability import INTERPRETED

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
# Relative to the largest entry: float32 sums of some hundred terms, or two roundings of a half type. Triton's
# interpreter cuts float32 off to bfloat16 where a device rounds.
TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 1.6e-2 if INTERPRETED else 8e-3, torch.float16: 1e-3}


def normal(*shape: int, dtype: torch.dtype, device: torch.device, scale: float = 1.0, shift: float = 0.0) -> Tensor:
    return (scale * torch.randn(shape) + shift).to(dtype).to(device)


def agree(function: Callable[..., Any], tensors: list[Tensor], dtype: torch.dtype) -> None:
    """`function(*tensors, kernel=…)` and its gradients for all tensors, along a fixed direction."""
    ours = _with_gradients(function, tensors, dtype, "triton")
    wanted = _with_gradients(function, [tensor.double() for tensor in tensors], dtype, "reference")
    for one, other in zip(ours, wanted, strict=True):
        assert one.dtype == dtype
        close(one, other, TOLERANCE[dtype])


def close(one: Tensor, other: Tensor, tolerance: float) -> None:
    finite = other.isfinite()
    largest = other[finite].abs().max().item() if finite.any() else 0.0
    torch.testing.assert_close(
        one.double(), other.double(), rtol=0, atol=tolerance * max(1.0, largest), equal_nan=True, check_device=False
    )


def _with_gradients(
    function: Callable[..., Any], tensors: list[Tensor], dtype: torch.dtype, kernel: str
) -> list[Tensor]:
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    results = function(*leaves, kernel=kernel)
    results = results if isinstance(results, tuple) else (results,)
    # Rounded to the kernel's type in both cases, so that the directions are the same.
    lines = [torch.linspace(-1, 2, y.numel(), device=y.device).to(dtype) for y in results]
    directions = [line.to(y.dtype).view(y.shape) for line, y in zip(lines, results, strict=True)]
    return [*(y.detach() for y in results), *torch.autograd.grad(results, leaves, directions)]
