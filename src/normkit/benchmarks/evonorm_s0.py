"""EvoNorm-S0, against the layer as timm computes it and against the cost of GroupNorm followed by SiLU."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from normkit import functional as F
from normkit.benchmarks._harness.bar import Bar, alone_on_gpu, large, never_slower
from normkit.benchmarks._harness.gpu_scenes import gpu_scenes
from normkit.benchmarks._harness.inputs import channel_parameters, normal
from normkit.benchmarks._harness.suite import Inputs, Peer, Suite

__all__ = ["suite"]

_GROUPS, _EPS = 32, 1e-5


def _inputs(shape: tuple[int, ...], generator: torch.Generator) -> Inputs:
    return (*normal(shape, generator), *channel_parameters(shape[1], 3, generator))


def _evonorm_s0(
    x: Float[Tensor, "b c h w"],
    weight: Float[Tensor, " c"],
    bias: Float[Tensor, " c"],
    v: Float[Tensor, " c"],
    **options: Any,
) -> Any:
    return F.evonorm_s0(x, weight, bias, v, _GROUPS, _EPS, **options)


def _timm(
    x: Float[Tensor, "b c h w"], weight: Float[Tensor, " c"], bias: Float[Tensor, " c"], v: Float[Tensor, " c"]
) -> Float[Tensor, "b c h w"]:
    """Timm's layer, restated: the groups' deviations are spread out to the size of x before the division."""
    batch, channels, height, width = x.shape
    grouped = x.reshape(batch, _GROUPS, channels // _GROUPS, height, width)
    deviation = grouped.var(dim=(2, 3, 4), unbiased=False, keepdim=True).add(_EPS).sqrt()
    spread = deviation.expand(grouped.shape).reshape(x.shape)
    activated = x * (x * v.view(1, -1, 1, 1)).sigmoid() / spread
    return activated * weight.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)


def _group_norm_silu(
    x: Float[Tensor, "b c h w"], weight: Float[Tensor, " c"], bias: Float[Tensor, " c"], v: Float[Tensor, " c"]
) -> Float[Tensor, "b c h w"]:
    # `v` enters with weight 0, so that the same gradients can be asked for.
    return torch.nn.functional.silu(torch.nn.functional.group_norm(x, _GROUPS, weight, bias + 0.0 * v, _EPS))


suite = Suite(
    op="evonorm_s0",
    family="layer",
    public=_evonorm_s0,
    reference=_timm,
    peers=(Peer("timm", _timm), Peer("group_norm+silu", _group_norm_silu, same=False)),
    inputs=_inputs,
    shapes=((2, 32, 4, 4), (4, 64, 14, 14), (8, 512, 7, 7), (32, 64, 28, 28), (16, 256, 14, 14), (16, 64, 112, 112)),
    user_shapes=((32, 64, 28, 28), (16, 256, 14, 14)),
    quick_shapes=((4, 64, 8, 8),),
    backward_shapes=((4, 64, 14, 14), (32, 64, 28, 28), (16, 256, 14, 14)),
    bars=(*never_slower("timm"), Bar(8.0, to="timm", where=large), Bar(2.0, to="torch.compile", where=large)),
    on_gpu=gpu_scenes((4, 64, 14, 14), (64, 256, 56, 56)),
    bars_on_gpu=alone_on_gpu("timm"),
)
