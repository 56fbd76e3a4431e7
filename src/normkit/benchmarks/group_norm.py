"""group_norm of images with gain and shift, against torch."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from normkit import functional as F
from normkit.benchmarks._harness.bar import Bar, large, never_slower
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
    out: Float[Tensor, "b c h w"] | None = None,
) -> Float[Tensor, "b c h w"]:
    if out is None:
        return torch.nn.functional.group_norm(x, _GROUPS, weight, bias)
    # torch's public function has no out=; the operation under it does, and writes mean and 1/std besides.
    batch, channels, height, width = x.shape
    sizes = (batch, channels, height * width, _GROUPS)
    mean, rstd = torch.empty(batch, _GROUPS), torch.empty(batch, _GROUPS)
    torch.ops.aten.native_group_norm.out(x, weight, bias, *sizes, 1e-5, out0=out, out1=mean, out2=rstd)
    return out


suite = Suite(
    op="group_norm",
    family="norm",
    public=_group_norm,
    reference=_torch,
    peers=(Peer("torch", _torch, writes_out=True),),
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
    fresh_shapes=((32, 64, 28, 28),),
    writes_out=True,
    bars=(*never_slower(), Bar(1.2, where=large)),
)
