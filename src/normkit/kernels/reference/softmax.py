"""softmax, log-softmax and log-sum-exp written as their definitions, with the row's maximum taken out first.

A row with NaN or +inf, and a row that is all −inf, gives NaN, as in torch; log-sum-exp of an all −inf row is −inf.
"""

import torch
from torch import Tensor

from normkit.kernels.reference._precision import statistics_dtype

__all__ = ["log_softmax", "logsumexp", "softmax"]


def softmax(
    input: Tensor, dim: int, accuracy: str = "default", masked_zero: bool = False, deterministic: bool = False
) -> Tensor:
    """y_i = e^(x_i − m) / Σ_j e^(x_j − m), m = max x; `masked_zero` turns an all −inf row into zeros."""
    x, masked = _open(input, dim, masked_zero)
    exponentials = (x - _maximum(x, dim)).exp()
    y = exponentials / exponentials.sum(dim, keepdim=True)
    return (y if masked is None else y.masked_fill(masked, 0.0)).to(input.dtype)


def log_softmax(
    input: Tensor, dim: int, accuracy: str = "default", masked_zero: bool = False, deterministic: bool = False
) -> Tensor:
    """y_i = (x_i − m) − log Σ_j e^(x_j − m); `masked_zero` turns an all −inf row into −inf, the logarithm of zeros."""
    x, masked = _open(input, dim, masked_zero)
    shifted = x - _maximum(x, dim)
    y = shifted - shifted.exp().sum(dim, keepdim=True).log()
    return (y if masked is None else y.masked_fill(masked, -torch.inf)).to(input.dtype)


def logsumexp(input: Tensor, dim: int, keepdim: bool = False) -> Tensor:
    """L = m + log Σ_j e^(x_j − m); an infinite m is L itself."""
    x = input.to(statistics_dtype(input.dtype))
    if x.ndim > 0 and x.shape[dim] == 0:
        return x.sum(dim, keepdim=keepdim).to(input.dtype) - torch.inf
    maximum = x.amax(dim, keepdim=True).detach()
    shift = torch.where(maximum.isinf(), 0.0, maximum)
    total = (x - shift).exp().sum(dim, keepdim=True).log() + shift
    return (total if keepdim else total.squeeze(dim)).to(input.dtype)


def _open(input: Tensor, dim: int, masked_zero: bool) -> tuple[Tensor, Tensor | None]:
    """The input in the wide dtype and, if asked for, which rows are all −inf; those rows are zeros then."""
    x = input.to(statistics_dtype(input.dtype))
    if not masked_zero:
        return x, None
    masked = (x == -torch.inf).all(dim, keepdim=True)
    return x.masked_fill(masked, 0.0), masked


def _maximum(x: Tensor, dim: int) -> Tensor:
    """The row's maximum as a constant: its derivative cancels. An empty row has none and needs none."""
    return x.new_zeros(()) if x.numel() == 0 else x.amax(dim, keepdim=True).detach()
