"""EvoNorm-S0 and EvoNorm-B0 in plain torch: normalisation and activation in one expression.

Liu et al. 2020 (arXiv:2004.02967), table 3; variances are population variances, nothing is centred.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from normkit.kernels.channels import per_channel
from normkit.kernels.reference._precision import statistics_dtype

__all__ = ["evonorm_b0", "evonorm_s0", "move_variance"]


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
    gamma, beta = per_channel(weight, x), per_channel(bias, x)
    if v is None:
        return (x * gamma + beta).to(input.dtype)
    variance = x.reshape(x.shape[0], groups, x.shape[1:].numel() // groups).var(dim=-1, correction=0)
    std = (variance + eps).sqrt().repeat_interleave(x.shape[1] // groups, dim=1)
    numerator = x * torch.sigmoid(per_channel(v, x) * x)
    return (numerator / std.reshape(*x.shape[:2], *[1] * (x.ndim - 2)) * gamma + beta).to(input.dtype)


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
    gamma, beta = per_channel(weight, x), per_channel(bias, x)
    if v is None:
        return (x * gamma + beta).to(input.dtype)
    space = tuple(range(2, x.ndim))
    if training:
        batch_variance = x.var(dim=(0, *space), correction=0)
        move_variance(running_var, batch_variance, x.numel() // x.shape[1], momentum)
    else:
        batch_variance = running_var
    instance_std = (x.var(dim=space, correction=0, keepdim=True) + eps).sqrt()
    batch_std = per_channel((batch_variance + eps).sqrt(), x)
    return (x / torch.maximum(batch_std, per_channel(v, x) * x + instance_std) * gamma + beta).to(input.dtype)


@torch.no_grad()
def move_variance(running_var: Tensor, variance: Tensor, count: int, momentum: float | Tensor) -> None:
    """running ← (1 − m)·running + m·variance·n/(n − 1), in place; an empty batch moves nothing."""
    if count > 0:
        running_var.lerp_((variance.detach() * (count / (count - 1))).to(running_var.dtype), momentum)
