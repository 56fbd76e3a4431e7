"""group_norm of images with gain and shift, against torch."""

from math import prod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from normkit import functional as F
from normkit.benchmarks._harness.bar import Bar, large, never_slower, quick_on_gpu
from normkit.benchmarks._harness.gpu_scenes import gpu_scenes
from normkit.benchmarks._harness.inputs import channel_parameters, normal
from normkit.benchmarks._harness.suite import Inputs, Peer, Suite

__all__ = ["suite"]

_GROUPS = 32


def _inputs(shape: tuple[int, ...], generator: torch.Generator) -> Inputs:
    return (*normal(shape, generator), *channel_parameters(shape[1], 2, generator))


def _group_norm(
    x: Float[Tensor, "b c h w"], weight: Float[Tensor, " c"], bias: Float[Tensor, " c"], **options: Any
) -> Any:
    return F.group_norm(x, _GROUPS, weight, bias, **options)


def _torch(
    x: Float[Tensor, "b c h w"],
    weight: Float[Tensor, " c"],
    bias: Float[Tensor, " c"],
) -> Float[Tensor, "b c h w"]:
    return torch.nn.functional.group_norm(x, _GROUPS, weight, bias)


# Fresh outputs on both sides: torch has no group_norm that writes into given memory (`native_group_norm.out` computes a
# fresh result and copies it).
suite = Suite(
    op="group_norm",
    family="norm",
    public=_group_norm,
    reference=_torch,
    peers=(Peer("torch", _torch),),
    inputs=_inputs,
    shapes=(
        (1, 32, 4, 4),
        (4, 64, 14, 14),
        (16, 64, 14, 14),
        (8, 512, 7, 7),
        (16, 256, 14, 14),
        (32, 64, 28, 28),
        (16, 64, 112, 112),
    ),
    user_shapes=((8, 256, 28, 28),),
    quick_shapes=((4, 64, 8, 8),),
    backward_shapes=((4, 64, 14, 14), (16, 256, 14, 14), (32, 64, 28, 28), (16, 64, 112, 112)),
    bars=(*never_slower(), Bar(1.2, where=large)),
    on_gpu=gpu_scenes((4, 64, 14, 14), (64, 256, 56, 56)),
    bars_on_gpu=(quick_on_gpu(), Bar(2.0, where=lambda shape: prod(shape) >= 2**22)),
)
