"""Weight standardisation from torch's fused layer normalisation, which reads a filter as a row."""

import torch
import torch.nn.functional as F
from torch import Tensor

from normkit.kernels.moments import moments
from normkit.kernels.reference._precision import statistics_dtype
from normkit.kernels.reference.weight_standardization import DEFAULT_EPS

__all__ = ["weight_standardize"]


def weight_standardize(weight: Tensor, variant: str = "official", eps: float | None = None) -> Tensor:
    """Ŵ = (W − mean)/σ; with the variance over n − 1 inside the root, W·sqrt((n−1)/n) normalised with ε·(n−1)/n."""
    eps = DEFAULT_EPS[variant] if eps is None else eps
    wide = weight.to(statistics_dtype(weight.dtype))
    size = weight[0:1].numel()
    if variant == "timm":
        standardized = F.layer_norm(wide, wide.shape[1:], eps=eps)
    elif variant == "bcn":
        bessel = (size - 1) / size
        standardized = F.layer_norm(wide, wide.shape[1:], eps=eps * bessel) * bessel**0.5
    else:
        standardized = _official(wide.flatten(1), size, eps).view_as(wide)
    return standardized.to(weight.dtype)


def _official(filters: Tensor, size: int, eps: float) -> Tensor:
    variance, mean = moments(filters, 1, keepdim=True)
    # The floor keeps the gradient of a constant filter finite, see the reference.
    std = (variance * (size / (size - 1))).clamp_min(torch.finfo(variance.dtype).tiny).sqrt()
    return (filters - mean) / (std + eps)
