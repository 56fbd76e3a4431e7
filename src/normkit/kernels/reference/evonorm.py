"""EvoNorm in plain torch, series S (of each sample) and B (of the batch): normalisation and activation in one.

Liu et al. 2020 (arXiv:2004.02967), table 3; variances are population variances, nothing is centred.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from normkit.kernels.channels import per_channel
from normkit.kernels.reference._precision import statistics_dtype

__all__ = [
    "evonorm_b0",
    "evonorm_b1",
    "evonorm_b2",
    "evonorm_s0",
    "evonorm_s1",
    "evonorm_s2",
    "move_variance",
]


def evonorm_s0(
    input: Float[Tensor, "batch channels *space"],
    weight: Float[Tensor, " channels"],
    bias: Float[Tensor, " channels"],
    v: Float[Tensor, " channels"] | None,
    groups: int,
    eps: float = 1e-5,
) -> Float[Tensor, "batch channels *space"]:
    """y = x·σ(v x) / sqrt(s² + ε) · γ + β, s² the variance of a group of channels in one sample; v=None: γ x + β."""
    x = input.to(statistics_dtype(input.dtype))
    if v is None:
        return _affine(x, weight, bias).to(input.dtype)
    std = _over_groups((_groups(x, groups).var(-1, correction=0) + eps).sqrt(), x)
    return _affine(x * torch.sigmoid(per_channel(v, x) * x) / std, weight, bias).to(input.dtype)


def evonorm_s1(
    input: Float[Tensor, "batch channels *space"],
    weight: Float[Tensor, " channels"],
    bias: Float[Tensor, " channels"],
    groups: int,
    eps: float = 1e-5,
) -> Float[Tensor, "batch channels *space"]:
    """y = x·σ(x) / sqrt(s² + ε) · γ + β, s² the variance of a group of channels in one sample."""
    return evonorm_s0(input, weight, bias, torch.ones_like(weight), groups, eps)


def evonorm_s2(
    input: Float[Tensor, "batch channels *space"],
    weight: Float[Tensor, " channels"],
    bias: Float[Tensor, " channels"],
    groups: int,
    eps: float = 1e-5,
) -> Float[Tensor, "batch channels *space"]:
    """y = x·σ(x) / sqrt(μ(x²) + ε) · γ + β, μ(x²) the mean square of a group of channels in one sample."""
    x = input.to(statistics_dtype(input.dtype))
    rms = _over_groups((_groups(x, groups).square().mean(-1) + eps).sqrt(), x)
    return _affine(x * torch.sigmoid(x) / rms, weight, bias).to(input.dtype)


def evonorm_b0(
    input: Float[Tensor, "batch channels *space"],
    weight: Float[Tensor, " channels"],
    bias: Float[Tensor, " channels"],
    v: Float[Tensor, " channels"] | None,
    running_var: Float[Tensor, " channels"],
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-3,
) -> Float[Tensor, "batch channels *space"]:
    """y = x / max(sqrt(s²_batch + ε), v x + sqrt(s²_instance + ε)) · γ + β; v=None: γ x + β.

    Training: s²_batch of this batch, and `running_var` moves towards its unbiased form; evaluation: `running_var`.
    """
    x = input.to(statistics_dtype(input.dtype))
    if v is None:
        return _affine(x, weight, bias).to(input.dtype)
    batch = _batch_std(x, running_var, training, momentum, eps)
    instance = per_channel(v, x) * x + (x.var(dim=_space(x), correction=0, keepdim=True) + eps).sqrt()
    return _affine(x / torch.maximum(batch, instance), weight, bias).to(input.dtype)


def evonorm_b1(
    input: Float[Tensor, "batch channels *space"],
    weight: Float[Tensor, " channels"],
    bias: Float[Tensor, " channels"],
    running_var: Float[Tensor, " channels"],
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Float[Tensor, "batch channels *space"]:
    """y = x / max(sqrt(s²_batch + ε), (x + 1)·sqrt(μ_instance(x²) + ε)) · γ + β; statistics as `evonorm_b0`."""
    x = input.to(statistics_dtype(input.dtype))
    batch = _batch_std(x, running_var, training, momentum, eps)
    return _affine(x / torch.maximum(batch, (x + 1) * _instance_rms(x, eps)), weight, bias).to(input.dtype)


def evonorm_b2(
    input: Float[Tensor, "batch channels *space"],
    weight: Float[Tensor, " channels"],
    bias: Float[Tensor, " channels"],
    running_var: Float[Tensor, " channels"],
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Float[Tensor, "batch channels *space"]:
    """y = x / max(sqrt(s²_batch + ε), sqrt(μ_instance(x²) + ε) − x) · γ + β; statistics as `evonorm_b0`."""
    x = input.to(statistics_dtype(input.dtype))
    batch = _batch_std(x, running_var, training, momentum, eps)
    return _affine(x / torch.maximum(batch, _instance_rms(x, eps) - x), weight, bias).to(input.dtype)


def _batch_std(x: Tensor, running_var: Tensor, training: bool, momentum: float, eps: float) -> Tensor:
    """sqrt(s²_batch + ε) of each channel, of this batch in training, which then moves `running_var`."""
    variance = running_var
    if training:
        variance = x.var(dim=(0, *_space(x)), correction=0)
        move_variance(running_var, variance, x.numel() // x.shape[1], momentum)
    return per_channel((variance + eps).sqrt(), x)


def _instance_rms(x: Tensor, eps: float) -> Tensor:
    return (x.square().mean(dim=_space(x), keepdim=True) + eps).sqrt()


def _affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x * per_channel(weight, x) + per_channel(bias, x)


def _space(x: Tensor) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


def _groups(x: Tensor, groups: int) -> Tensor:
    return x.reshape(x.shape[0], groups, x.shape[1:].numel() // groups)


def _over_groups(values: Tensor, x: Tensor) -> Tensor:
    """Values (B, G) of the groups shaped to broadcast over x (B, C, …)."""
    by_channel = values.repeat_interleave(x.shape[1] // values.shape[1], dim=1)
    return by_channel.reshape(*x.shape[:2], *[1] * (x.ndim - 2))


@torch.no_grad()
def move_variance(running_var: Tensor, variance: Tensor, count: int, momentum: float | Tensor) -> None:
    """running ← (1 − m)·running + m·variance·n/(n − 1), in place; an empty batch moves nothing."""
    if count > 0:
        running_var.lerp_((variance.detach() * (count / (count - 1))).to(running_var.dtype), momentum)
