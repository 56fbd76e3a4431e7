"""Layer, RMS and compressed RMS normalisation over the trailing axes, in float32 or wider.

LayerNorm: Ba, Kiros, Hinton 2016, arXiv:1607.06450, section 3.
RMSNorm: Zhang, Sennrich 2019, arXiv:1910.07467. CRMSNorm: Jiang et al. 2023, arXiv:2305.14858, section 3.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from normkit.kernels.reference._precision import statistics_dtype

__all__ = ["crms_norm", "layer_norm", "rms_norm"]


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    residual: Tensor | None = None,
    prenorm: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """(s − μ) / sqrt(σ² + eps) · weight + bias with the population variance σ², s the input or its residual sum."""
    summed = input if residual is None else input + residual
    x = summed.to(statistics_dtype(summed.dtype))
    axes = _trailing(normalized_shape)
    centred = x - x.mean(axes, keepdim=True)
    normal = centred / (centred.square().mean(axes, keepdim=True) + eps).sqrt()
    y = _affine(normal, weight, bias).to(summed.dtype)
    return (y, summed) if prenorm else y


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
) -> Tensor | tuple[Tensor, Tensor]:
    """s / sqrt(mean(s²) + eps) · (offset + weight) + bias, s as above; `cast` says when half precision is rounded."""
    summed = input if residual is None else input + residual
    x = summed.to(statistics_dtype(summed.dtype))
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    normal = x / (x.square().mean(_trailing(normalized_shape), keepdim=True) + eps).sqrt()
    if cast == "llama":
        normal = normal.to(summed.dtype)
        weight = weight if weight is None else weight.to(summed.dtype)
        bias = bias if bias is None else bias.to(summed.dtype)
    y = _affine(normal, weight, bias, offset).to(summed.dtype)
    return (y, summed) if prenorm else y


def crms_norm(input: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    """z / sqrt((Σ z² + (Σ z)²) / d + eps) · weight, d one more than the entries given: the last one is −Σ z."""
    z = input.to(statistics_dtype(input.dtype))
    last = z.sum(-1, keepdim=True)
    mean_square = (z.square().sum(-1, keepdim=True) + last.square()) / (z.shape[-1] + 1)
    return _affine(z / (mean_square + eps).sqrt(), weight, None).to(input.dtype)


def _trailing(normalized_shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(range(-len(normalized_shape), 0))


def _affine(normal: Tensor, weight: Tensor | None, bias: Tensor | None, offset: float = 0.0) -> Tensor:
    if weight is not None:
        normal = normal * (weight.to(normal.dtype) + offset)
    return normal if bias is None else normal + bias.to(normal.dtype)
