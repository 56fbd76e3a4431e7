"""Batch-channel normalisation and its two halves from torch's fused batch and group normalisation."""

import torch
import torch.nn.functional as F
from torch import Tensor

from normkit.kernels.moments import moments
from normkit.kernels.reference._precision import statistics_dtype

__all__ = ["batch_channel_norm", "channel_norm", "estimate_norm", "move_estimates", "supports"]


def batch_channel_norm(
    input: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    bn_weight: Tensor,
    bn_bias: Tensor,
    num_groups: int,
    weight: Tensor,
    bias: Tensor,
    training: bool = False,
    style: str = "estimate",
    speed: float | Tensor = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise by channel over the batch, then by channel group within each sample."""
    if style == "estimate":
        if training and input.shape[0] > 0:
            variance, mean = moments(input.detach().to(statistics_dtype(input.dtype)), (0, *range(2, input.ndim)))
            # = mean((x − μ̂_old)²) without another read of x
            deviation = variance + (mean - running_mean) ** 2
            move_estimates(running_mean, running_var, mean, deviation, speed)
        normalized = estimate_norm(input, running_mean, running_var, bn_weight, bn_bias, eps)
    else:
        gain, shift = _widened(bn_weight, input), _widened(bn_bias, input)
        normalized = F.batch_norm(input, running_mean, running_var, gain, shift, training, float(speed), eps)
    return channel_norm(normalized, num_groups, weight, bias, eps)


def supports(op: str, input: Tensor, running_mean: Tensor, running_var: Tensor, *_: object) -> str | None:
    """torch's batch normalisation wants the statistics in the type that it computes in, and at least one sample."""
    wanted = statistics_dtype(input.dtype)
    if running_mean.dtype != wanted or running_var.dtype != wanted:
        return f"the running statistics must be {wanted} for an input of {input.dtype}, got {running_mean.dtype}"
    return None if input.shape[0] > 0 else "the batch is empty"


def estimate_norm(
    input: Tensor, running_mean: Tensor, running_var: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> Tensor:
    """γ (x − μ̂)/sqrt(σ̂² + ε) + β with the estimates as constants to the gradient."""
    # Copies, for the next call moves the estimates in place, perhaps before this one's backward pass has read them.
    mean, variance = _widened(running_mean, input, copy=True), _widened(running_var, input, copy=True)
    return F.batch_norm(input, mean, variance, _widened(weight, input), _widened(bias, input), False, 0.0, eps)


def channel_norm(input: Tensor, num_groups: int, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Group normalisation with one scale and one shift (1, G, 1) a group."""
    repeat = input.shape[1] // num_groups
    gain, shift = (p.to(input.dtype).flatten().repeat_interleave(repeat) for p in (weight, bias))
    return F.group_norm(input, num_groups, gain, shift, eps)


@torch.no_grad()
def move_estimates(
    running_mean: Tensor, running_var: Tensor, mean: Tensor, deviation: Tensor, speed: float | Tensor
) -> None:
    """μ̂ ← (1−r) μ̂ + r·mean and σ̂² ← (1−r) σ̂² + r·deviation, in place."""
    running_var.lerp_(deviation.to(running_var.dtype), speed)
    running_mean.lerp_(mean.to(running_mean.dtype), speed)


def _widened(values: Tensor, input: Tensor, copy: bool = False) -> Tensor:
    return values.to(statistics_dtype(input.dtype), copy=copy)
