"""Group normalisation in plain torch: by groups of channels within each sample.

Wu and He 2018 (arXiv:1803.08494), equation 7.
"""

import torch
from torch import Tensor

from normkit.kernels.channels import per_channel
from normkit.kernels.reference._precision import statistics_dtype

__all__ = ["group_norm"]


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """y = (x − μ)/sqrt(σ² + ε) γ + β, μ and σ² of a group of channels of one sample (population variance)."""
    x = input.to(statistics_dtype(input.dtype))
    groups = x.reshape(x.shape[0], num_groups, x.shape[1:].numel() // num_groups)
    variance, mean = torch.var_mean(groups, dim=-1, correction=0, keepdim=True)
    y = ((groups - mean) / (variance + eps).sqrt()).view_as(x)
    if weight is not None:
        y = y * per_channel(weight, x)
    return (y if bias is None else y + per_channel(bias, x)).to(input.dtype)
