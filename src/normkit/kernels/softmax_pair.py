"""The sum of a row's exponentials as a pair (mantissa, exponent), natively where the rows are plain, and as a formula.

mantissa 2^exponent = Σ_j e^(x_j),   mantissa in [1/2, 1]
"""

from typing import Any, cast

import torch
from torch import Tensor

from normkit.kernels import dispatch, native
from normkit.kernels.softmax import is_plain

__all__ = ["by_formula", "softmax_pair"]

_LN_2 = 0.6931471805599453


def softmax_pair(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Mantissas and exponents of the rows along `dim`; float64 for a float64 input, else float32."""
    if not _native_takes(x, dim):
        return by_formula(x, dim)
    x = x.movedim(dim, -1)
    if x.requires_grad and torch.is_grad_enabled():
        return cast(tuple[Tensor, Tensor], super(torch.autograd.Function, _Pair).apply(x.contiguous()))
    pair = native.softmax_pair(x.contiguous())
    return pair[0], pair[1]


def by_formula(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The pair in plain torch, computed in float64 so that the exponent's ln 2 costs no digits of x."""
    wide = x.double()
    if x.numel() == 0:
        total = wide.sum(dim)
        exponent = torch.full_like(total, -torch.inf)
    else:
        top = wide.amax(dim, keepdim=True).detach()
        n = torch.where(top.isfinite(), (top / _LN_2).round(), 0.0)
        total = (wide - n * _LN_2).exp().sum(dim)
        power = torch.frexp(total.detach()).exponent
        power = torch.where(total.isfinite(), power, 0)
        total = total * torch.exp2(-power.to(total.dtype))
        exponent = torch.where(total == 0, -torch.inf, n.squeeze(dim) + power).detach()
    dtype = torch.promote_types(x.dtype, torch.float32)
    largest = torch.finfo(dtype).max  # the rows' own numbers times 1/ln 2 may be beyond it
    exponent = torch.where(exponent.isinf(), exponent, exponent.clamp(-largest, largest))
    return total.to(dtype), exponent.to(dtype)


def _native_takes(x: Tensor, dim: int) -> bool:
    """Whether the native kernel can do it: plain rows of a type that it knows, and no derivative pushed forward."""
    if dispatch.switched_off["native"] or native.supports("softmax", x, dim) is not None:
        return False
    return is_plain(x) and x.shape[dim] > 0


class _Pair(torch.autograd.Function):
    """d mantissa / dx_j = mantissa softmax(x)_j; the exponent is constant between its steps."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        pair = native.softmax_pair(x)
        mantissa, exponent = pair[0].clone(), pair[1].clone()
        ctx.save_for_backward(x, mantissa)
        ctx.mark_non_differentiable(exponent)
        return mantissa, exponent

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        x, mantissa = ctx.saved_tensors
        wide, factor = x.float(), grads[0] * mantissa  # a half type may not hold the factor
        masked = (mantissa == 0).unsqueeze(-1)  # rows of −inf throughout, which nothing moves
        if torch.is_grad_enabled() or not is_plain(grads[0]):
            dx = factor.unsqueeze(-1) * wide.softmax(-1)
        else:
            dx = native.logsumexp_backward(wide, mantissa, factor, x.ndim - 1)
        return dx.masked_fill(masked, 0.0).to(x.dtype)
