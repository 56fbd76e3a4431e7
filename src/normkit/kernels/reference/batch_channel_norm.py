"""Batch-channel normalisation in plain torch: by channel over the batch, then by channel group within each sample.

Qiao et al. 2020 (arXiv:1903.10520), section 4; the moving estimates are those of its layer for micro-batches.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from normkit.kernels.channels import per_channel
from normkit.kernels.reference._precision import statistics_dtype
from normkit.kernels.reference.evonorm import move_variance

__all__ = ["batch_channel_norm", "channel_norm", "move_estimates"]


def batch_channel_norm(
    input: Float[Tensor, "batch channels *space"],
    running_mean: Float[Tensor, " channels"],
    running_var: Float[Tensor, " channels"],
    bn_weight: Float[Tensor, " channels"],
    bn_bias: Float[Tensor, " channels"],
    num_groups: int,
    weight: Float[Tensor, "1 groups 1"],
    bias: Float[Tensor, "1 groups 1"],
    training: bool = False,
    style: str = "estimate",
    speed: float | Float[Tensor, "..."] = 0.1,
    eps: float = 1e-5,
) -> Float[Tensor, "batch channels *space"]:
    """y = w_g · GN(γ (x − μ)/sqrt(σ² + ε) + β) + b_g.

    "estimate": μ, σ² are the running estimates after this batch has moved them, constants to the gradient.
    "batch": μ, σ² are this batch's in training (the gradient passes through them), the running ones in evaluation.
    """
    x = input.to(statistics_dtype(input.dtype))
    mean, variance = running_mean, running_var
    if training and style == "batch":
        mean, variance = _batch_moments(x)
        _move_moments(running_mean, running_var, mean, variance, x.numel() // x.shape[1], speed)
    elif training:
        move_estimates(x, running_mean, running_var, speed)
    std = (variance + eps).sqrt()
    normalized = (x - per_channel(mean, x)) / per_channel(std, x) * per_channel(bn_weight, x) + per_channel(bn_bias, x)
    return channel_norm(normalized, num_groups, weight, bias, eps).to(input.dtype)


def channel_norm(
    input: Float[Tensor, "batch channels *space"],
    num_groups: int,
    weight: Float[Tensor, "1 groups 1"],
    bias: Float[Tensor, "1 groups 1"],
    eps: float = 1e-5,
) -> Float[Tensor, "batch channels *space"]:
    """Group normalisation with one scale and shift a group (population variance, float32 or wider)."""
    x = input.to(statistics_dtype(input.dtype))
    groups = x.reshape(x.shape[0], num_groups, x.shape[1:].numel() // num_groups)
    variance, mean = torch.var_mean(groups, dim=-1, correction=0, keepdim=True)
    normalized = (groups - mean) / (variance + eps).sqrt() * weight.to(x.dtype) + bias.to(x.dtype)
    return normalized.view_as(x).to(input.dtype)


@torch.no_grad()
def move_estimates(
    x: Float[Tensor, "batch channels *space"],
    running_mean: Float[Tensor, " channels"],
    running_var: Float[Tensor, " channels"],
    speed: float | Float[Tensor, "..."],
) -> None:
    """μ̂ ← (1−r) μ̂ + r·mean(x) and σ̂² ← (1−r) σ̂² + r·mean((x − μ̂_old)²), in place; an empty batch moves nothing."""
    if x.numel() == 0:
        return
    mean, variance = _batch_moments(x.detach().to(statistics_dtype(x.dtype)))
    deviation = variance + (mean - running_mean) ** 2  # = mean((x − μ̂_old)²), from one read of x
    running_var.lerp_(deviation.to(running_var.dtype), speed)
    running_mean.lerp_(mean.to(running_mean.dtype), speed)


def _batch_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(x, dim=(0, *range(2, x.ndim)), correction=0)
    return mean, variance


@torch.no_grad()
def _move_moments(
    running_mean: Tensor, running_var: Tensor, mean: Tensor, variance: Tensor, count: int, momentum: float | Tensor
) -> None:
    running_mean.lerp_(mean.detach().to(running_mean.dtype), momentum)
    move_variance(running_var, variance, count, momentum)
