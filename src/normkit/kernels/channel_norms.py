"""The native channel norms made differentiable: GroupNorm, EvoNorm, batch-channel norm, weight standardisation.

They compute on plain CPU tensors, straight from their addresses. What is traced or transformed (`torch.compile`,
`torch.export`, `torch.func`, FakeTensor) is left to the formulas in torch's operators, which a compiler can fuse, but
for what `kernels/channel_operators.py` has.
"""

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.graph import increment_version

from normkit.kernels import channel_operators, native, native_planes
from normkit.kernels.channel_gradients import BatchChannelNorm, EvoNormB0, EvoNormS0, GroupNorm, WeightStandardize
from normkit.kernels.channel_limits import prefers, supports
from normkit.kernels.differentiable import apply, recorded, written
from normkit.kernels.reference import weight_standardization as ws_reference

__all__ = [
    "WHY_NOT",
    "batch_channel_norm",
    "evonorm_b0",
    "evonorm_s0",
    "group_norm",
    "prefers",
    "quick_group_norm",
    "supports",
    "weight_standardize",
]

WHY_NOT: str = native_planes.WHY_NOT


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """y = (x − μ)/sqrt(σ² + ε) γ + β."""
    if out is None and recorded(input, weight, bias):
        return apply(GroupNorm, input, num_groups, weight, bias, eps)
    return written(native_planes.group_norm(input, num_groups, weight, bias, eps, out=out, keep=False)[0], out)


def quick_group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    out: Tensor | None,
) -> Tensor | None:
    """The commonest call at once, its checks in C++: a dense tensor on the CPU, no gradient; None for all else."""
    try:
        if native.group_norm_rows is None or forward_ad._current_level >= 0 or recorded(input, weight, bias):
            return None
    except AttributeError:  # no tensor: the checks that follow say so
        return None
    if out is not None and out.shape != input.shape:
        return None
    y = native.group_norm_rows(input, num_groups, weight, bias, eps, out)
    return None if y is None else written(y, out)


def evonorm_s0(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    v: Tensor,
    groups: int,
    eps: float = 1e-5,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """y = x σ(v x)/sqrt(s² + ε) γ + β."""
    if torch.compiler.is_compiling():
        return _into(channel_operators.evonorm_s0(input, weight, bias, v, groups, eps)[0], out)
    if out is None and recorded(input, weight, bias, v):
        return apply(EvoNormS0, input, weight, bias, v, groups, eps)
    return written(native_planes.evonorm_s0(input, weight, bias, v, groups, eps, out=out, keep=False)[0], out)


def evonorm_b0(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    v: Tensor,
    running_var: Tensor,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-3,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """y = x/max(sqrt(s²_batch + ε), v x + sqrt(s²_instance + ε)) γ + β."""
    arguments = (input, weight, bias, v, running_var, training, momentum, eps)
    if training:
        increment_version(running_var)
    if out is None and recorded(input, weight, bias, v):
        return apply(EvoNormB0, *arguments)
    return written(native_planes.evonorm_b0(*arguments, out=out, keep=False)[0], out)


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
    *,
    out: Tensor | None = None,
) -> Tensor:
    """y = w GN(γ (x − μ)/sqrt(σ² + ε) + β) + b."""
    speed = float(speed) if training else 0.0
    arguments = (input, running_mean, running_var, bn_weight, bn_bias, num_groups, weight, bias, training, style)
    if training:
        increment_version((running_mean, running_var))
    if out is None and recorded(input, bn_weight, bn_bias, weight, bias):
        return apply(BatchChannelNorm, *arguments, speed, eps)
    return written(native_planes.batch_channel_norm(*arguments, speed, eps, out=out, keep=False)[0], out)


def weight_standardize(
    weight: Tensor, variant: str = "official", eps: float | None = None, *, out: Tensor | None = None
) -> Tensor:
    """Ŵ = (W − mean)/σ."""
    eps = ws_reference.DEFAULT_EPS[variant] if eps is None else eps
    if torch.compiler.is_compiling():
        return _into(channel_operators.weight_standardize(weight, variant, eps)[0], out)
    if out is None and recorded(weight):
        return apply(WeightStandardize, weight, variant, eps)
    return written(native_planes.weight_standardize(weight, variant, eps, out=out, keep=False)[0], out)


def _into(y: Tensor, out: Tensor | None) -> Tensor:
    return y if out is None else out.copy_(y)
