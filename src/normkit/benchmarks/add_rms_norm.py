"""rms_norm of a residual sum that is computed as well, against the two steps as a pre-norm block writes them."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from normkit import functional as F
from normkit.benchmarks._harness.bar import Bar, large, never_slower, quick_on_gpu
from normkit.benchmarks._harness.gpu_scenes import gpu_scenes
from normkit.benchmarks._harness.inputs import channel_parameters, normal
from normkit.benchmarks._harness.liger import liger_add_rms_norm
from normkit.benchmarks._harness.suite import Inputs, Peer, Suite

__all__ = ["suite"]

_EPS = 1e-6


def _inputs(shape: tuple[int, ...], generator: torch.Generator) -> Inputs:
    return (*normal(shape, generator), *normal(shape, generator), *channel_parameters(shape[-1], 1, generator))


def _add_rms_norm(
    x: Float[Tensor, "*rows d"], residual: Float[Tensor, "*rows d"], weight: Float[Tensor, " d"], **options: Any
) -> Float[Tensor, "*rows d"]:
    y, _ = F.rms_norm(x, weight.shape, weight, _EPS, residual=residual, prenorm=True, **options)
    return y


def _torch(
    x: Float[Tensor, "*rows d"], residual: Float[Tensor, "*rows d"], weight: Float[Tensor, " d"]
) -> Float[Tensor, "*rows d"]:
    return torch.nn.functional.rms_norm(x + residual, weight.shape, weight, _EPS)


def _composite(
    x: Float[Tensor, "*rows d"], residual: Float[Tensor, "*rows d"], weight: Float[Tensor, " d"]
) -> Float[Tensor, "*rows d"]:
    summed = x + residual
    return summed * torch.rsqrt(summed.square().mean(-1, keepdim=True) + _EPS) * weight


suite = Suite(
    op="add_rms_norm",
    family="norm",
    public=_add_rms_norm,
    reference=_composite,
    peers=(Peer("torch", _torch), Peer("composite", _composite), liger_add_rms_norm),
    inputs=_inputs,
    shapes=((256, 128), (64, 1024), (4096, 1024), (8192, 4096)),
    user_shapes=((8, 128, 768),),
    quick_shapes=((64, 128), (64, 1024)),
    backward_shapes=((64, 1024), (4096, 1024)),
    bytes_forward=16,  # x and the residual are read, their sum and y are written
    rowwise=True,
    bars=(*never_slower(), Bar(2.0, where=large)),
    on_gpu=gpu_scenes((64, 1024), (2048, 16384)),
    bars_on_gpu=(
        quick_on_gpu(),
        Bar(0.9, to="copy", out_of_cache=True),
        Bar(0.75, to="copy", mode="bwd", out_of_cache=True),
    ),
)
