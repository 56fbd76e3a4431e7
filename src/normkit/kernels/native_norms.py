"""The C++ row norms on CPU tensors: no autograd, no tracing, just numbers.

Of rows s = x, or x + residual, over the last `dim` entries:

    LayerNorm  y = (s − μ)/sqrt(σ² + ε) · w + b
    RMSNorm    y = s/sqrt(mean s² + ε) · (o + w) + b
    CRMSNorm   y = s/sqrt((Σ s² + (Σ s)²)/(dim + 1) + ε) · w

Computed in float32 with sums carried in double, whatever the type in memory; parameters are rounded to float32. Native
code: `native/core/norms`.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from normkit.kernels import native
from normkit.kernels.native import WHY_NOT

if native.AVAILABLE:
    from normkit import _native

    _norm, _norm_backward = _native.norm, _native.norm_backward

__all__ = ["DTYPES", "WHY_NOT", "RowNorm", "norm", "norm_backward"]

LAYER, RMS, COMPRESSED = range(3)
DTYPES: dict[torch.dtype, int] = native.STORAGE
_threads = torch.get_num_threads


class RowNorm(NamedTuple):
    """Which norm, over how many entries, and its choices; `round_first`: to the type in memory before the gain."""

    operation: int
    dim: int
    eps: float
    offset: float = 0.0
    round_first: bool = False


def norm(
    how: RowNorm,
    x: Tensor,
    residual: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    *,
    out: Tensor | None = None,
    keep_sum: bool = False,
    keep_scales: bool = False,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """y, the sum that was normalised (x itself without a residual), and what the backward function wants back.

    The sum is kept where `keep_sum` asks for it; without it x is given in its place.
    """
    x, stride = _rows(x, how.dim)
    rows = x.numel() // how.dim if how.dim else 0
    y = out if out is not None and out.is_contiguous() else native.fresh(x, contiguous=True)
    summed = x if residual is None or not keep_sum else native.fresh(x, contiguous=True)
    scales = torch.empty(rows, 3, dtype=torch.float32, device=x.device) if keep_scales else None
    weight, bias = _floats(weight), _floats(bias)
    residual = None if residual is None else residual.contiguous()
    _norm(
        how.operation,
        DTYPES[x.dtype],
        x.data_ptr(),
        _address(residual),
        0 if summed is x else summed.data_ptr(),
        y.data_ptr(),
        _address(weight),
        _address(bias),
        _address(scales),
        rows,
        how.dim,
        stride,
        how.eps,
        how.offset,
        how.round_first,
        _threads(),
    )
    return (y if out is None or y is out else out.copy_(y)), summed, scales


def norm_backward(
    how: RowNorm,
    summed: Tensor,
    weight: Tensor | None,
    scales: Tensor,
    dy: Tensor,
    ds: Tensor | None = None,
    *,
    of_weight: bool = True,
    of_bias: bool = True,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Gradients for the sum, the weight and the bias, given those of y and, if it has one of its own, of the sum."""
    summed, dy = summed.contiguous(), dy.to(summed.dtype).contiguous()
    ds = None if ds is None else ds.to(summed.dtype).contiguous()
    dx = native.fresh(summed)
    weight = _floats(weight)
    d_weight, d_bias = (
        torch.empty(how.dim, dtype=torch.float32, device=dx.device) if wanted else None
        for wanted in (of_weight, of_bias)
    )
    _norm_backward(
        how.operation,
        DTYPES[summed.dtype],
        summed.data_ptr(),
        dy.data_ptr(),
        _address(ds),
        dx.data_ptr(),
        _address(weight),
        scales.data_ptr(),
        _address(d_weight),
        _address(d_bias),
        scales.shape[0],
        how.dim,
        how.offset,
        _threads(),
    )
    return dx, d_weight, d_bias


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _floats(parameter: Tensor | None) -> Tensor | None:
    return None if parameter is None else parameter.detach().to(torch.float32).contiguous()


def _rows(x: Tensor, dim: int) -> tuple[Tensor, int]:
    """`x` with rows of `dim` entries an even distance apart, copied only where they have none, and the distance."""
    if x.is_contiguous():
        return x, dim
    if x.ndim == 2 and x.shape[1] == dim and x.stride(1) == 1 and x.stride(0) >= dim:
        return x, x.stride(0)
    return x.contiguous(), dim
