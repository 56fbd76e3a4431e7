"""Weight standardisation in plain torch: each output filter to mean 0 and standard deviation 1.

Qiao et al. 2020 (arXiv:1903.10520), section 3.1; the three denominators that checkpoints depend on.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from normkit.kernels.reference._precision import statistics_dtype

__all__ = ["DEFAULT_EPS", "weight_standardize"]

DEFAULT_EPS = {"official": 1e-5, "bcn": 1e-5, "timm": 1e-6}


def weight_standardize(
    weight: Float[Tensor, "filters *entries"], variant: str = "official", eps: float | None = None
) -> Float[Tensor, "filters *entries"]:
    """Ŵ_o = (W_o − mean W_o) / σ_o over all but the first axis; statistics in float32 or wider.

    σ_o: "official" sqrt(var, n−1) + ε; "bcn" sqrt((var, n−1) + ε); "timm" sqrt((var, n) + ε).
    """
    eps = DEFAULT_EPS[variant] if eps is None else eps
    filters = weight.to(statistics_dtype(weight.dtype)).flatten(1)
    variance, mean = torch.var_mean(filters, dim=1, correction=0 if variant == "timm" else 1, keepdim=True)
    return ((filters - mean) / _denominator(variance, variant, eps)).view_as(weight).to(weight.dtype)


def _denominator(variance: Tensor, variant: str, eps: float) -> Tensor:
    if variant != "official":
        return (variance + eps).sqrt()
    # The slope of sqrt at 0 is infinite: a constant filter would turn its gradient into NaN. The floor is far below
    # what changes a digit beside ε.
    return variance.clamp_min(torch.finfo(variance.dtype).tiny).sqrt() + eps
