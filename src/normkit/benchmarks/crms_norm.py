"""crms_norm of compressed rows, against what a plain formula costs and against RMSNorm of the rows in full."""

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

_EPS = 1e-5


def _inputs(shape: tuple[int, ...], generator: torch.Generator) -> Inputs:
    return (*normal(shape, generator), *channel_parameters(shape[-1], 1, generator))


def _crms_norm(x: Float[Tensor, "*rows d"], weight: Float[Tensor, " d"], **options: Any) -> Any:
    return F.crms_norm(x, weight, _EPS, **options)


def _restored(x: Float[Tensor, "*rows d"], weight: Float[Tensor, " d"]) -> Float[Tensor, "*rows d"]:
    """Append the entry that is not stored, take the root mean square of the whole row, drop the entry."""
    full = torch.cat([x, -x.sum(-1, keepdim=True)], -1)
    return x * torch.rsqrt(full.square().mean(-1, keepdim=True) + _EPS) * weight


def _layer_norm(x: Float[Tensor, "*rows d"], weight: Float[Tensor, " d"]) -> Float[Tensor, "*rows d"]:
    return torch.nn.functional.layer_norm(x, weight.shape, weight)


suite = Suite(
    op="crms_norm",
    family="norm",
    public=_crms_norm,
    reference=_restored,
    peers=(Peer("torch", _restored), Peer("torch.layer_norm", _layer_norm, same=False)),
    inputs=_inputs,
    shapes=((256, 127), (64, 1023), (4096, 1023)),
    user_shapes=((8, 128, 767),),
    quick_shapes=((64, 127), (64, 1023)),
    backward_shapes=((64, 1023), (4096, 1023)),
    rowwise=True,
    bars=(*never_slower(), Bar(2.5, where=large), Bar(6.0, mode="bwd", where=large)),
    on_gpu=gpu_scenes((64, 1023), (4096, 16383)),
    bars_on_gpu=alone_on_gpu(),
)
