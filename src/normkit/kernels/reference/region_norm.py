"""Region normalisation in plain torch: every region of the pixels is normalised by its own mean and variance.

Yu et al. 2020 (arXiv:1911.10375), section 3.1; variances are population variances, taken around the region's own mean.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from normkit.kernels.channels import per_channel
from normkit.kernels.reference._precision import statistics_dtype

__all__ = ["Moments", "normalize_regions", "region_moments", "region_norm"]


class Moments(NamedTuple):
    """Statistics of one region with `size` pixels of `total`, each shaped to broadcast over x."""

    mean: Tensor
    variance: Tensor
    size: Tensor
    total: float | Tensor


def region_norm(
    input: Float[Tensor, "batch channels *space"],
    label: Shaped[Tensor, "batch 1 *space"],
    num_regions: int,
    weight: Float[Tensor, "regions channels"] | None = None,
    bias: Float[Tensor, "regions channels"] | None = None,
    style: str = "instance",
    eps: float = 1e-5,
    eps_mode: str = "plain",
) -> Float[Tensor, "batch channels *space"]:
    """y = Σ_k R_k [ (x − μ_k)/sqrt(v_k + ε_k) · γ_k + β_k ]; ε_k = ε, or ε N/S_k in the mode "official"."""
    x = input.to(statistics_dtype(input.dtype))
    y = normalize_regions(x, label, num_regions, weight, bias, eps, eps_mode, lambda at: region_moments(x, at, style))
    return y.to(input.dtype)


def normalize_regions(
    x: Float[Tensor, "batch channels *space"],
    label: Shaped[Tensor, "batch 1 *space"],
    num_regions: int,
    weight: Float[Tensor, "regions channels"] | None,
    bias: Float[Tensor, "regions channels"] | None,
    eps: float,
    eps_mode: str,
    moments: Callable[[Tensor], Moments],
) -> Float[Tensor, "batch channels *space"]:
    """The same with the moments of a region as `moments(its pixels)` gives them."""
    y = torch.zeros_like(x)
    for region in range(num_regions):
        inside = label == region
        mean, variance, size, total = moments(inside)
        z = (x - mean) / (variance + (eps if eps_mode == "plain" else eps * total / size)).sqrt()
        if weight is not None:
            z = z * per_channel(weight[region], x)
        if bias is not None:
            z = z + per_channel(bias[region], x)
        y = torch.where(inside, z, y)
    return y


def region_moments(
    x: Float[Tensor, "batch channels *space"], inside: Shaped[Tensor, "batch 1 *space"], style: str
) -> Moments:
    """Moments of the pixels `inside`, over each sample or the batch; an empty region has size 1.

    Pixels are selected, not multiplied by 0: a NaN stays in its own region.
    """
    axes = tuple(range(2, x.ndim)) if style == "instance" else (0, *range(2, x.ndim))
    size = inside.to(x.dtype).sum(axes, keepdim=True).clamp_min(1)
    mean = torch.where(inside, x, 0.0).sum(axes, keepdim=True) / size
    variance = torch.where(inside, x - mean, 0.0).square().sum(axes, keepdim=True) / size
    return Moments(mean, variance, size, inside.numel() // size.numel() if inside.numel() else 0)
