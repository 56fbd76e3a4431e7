"""rms_norm over the last axis with gain, against torch and the way Llama's code writes it."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from normkit import functional as F
from normkit.benchmarks._harness.bar import Bar, large, never_slower, quick_on_gpu
from normkit.benchmarks._harness.gpu_scenes import gpu_scenes, on_gpu
from normkit.benchmarks._harness.inputs import channel_parameters, normal
from normkit.benchmarks._harness.liger import liger_rms_norm
from normkit.benchmarks._harness.suite import Inputs, Peer, Suite

__all__ = ["suite"]

_EPS = 1e-6


def _inputs(shape: tuple[int, ...], generator: torch.Generator) -> Inputs:
    return (*normal(shape, generator), *channel_parameters(shape[-1], 1, generator))


def _rms_norm(x: Float[Tensor, "*rows d"], weight: Float[Tensor, " d"], **options: Any) -> Any:
    return F.rms_norm(x, weight.shape, weight, _EPS, **options)


def _torch(x: Float[Tensor, "*rows d"], weight: Float[Tensor, " d"]) -> Float[Tensor, "*rows d"]:
    return torch.nn.functional.rms_norm(x, weight.shape, weight, _EPS)


def _composite(x: Float[Tensor, "*rows d"], weight: Float[Tensor, " d"]) -> Float[Tensor, "*rows d"]:
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    scaled = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + _EPS)
    return weight * scaled.to(x.dtype)


suite = Suite(
    op="rms_norm",
    family="norm",
    public=_rms_norm,
    reference=_composite,
    peers=(Peer("torch", _torch), Peer("composite", _composite), liger_rms_norm),
    inputs=_inputs,
    shapes=((256, 128), (64, 1024), (4096, 1024), (8192, 4096)),
    user_shapes=((8, 128, 768),),
    quick_shapes=((64, 128), (64, 1024)),
    backward_shapes=((64, 1024), (4096, 1024)),
    rowwise=True,
    bars=(*never_slower(), Bar(2.5, where=large), Bar(6.0, mode="bwd", where=large)),
    on_gpu=(
        *gpu_scenes((64, 1024), (4096, 16384)),
        on_gpu((4096, 16384), "bwd", torch.bfloat16),
        on_gpu((8192, 4096), "fwd+bwd", torch.bfloat16),
    ),
    bars_on_gpu=(
        quick_on_gpu(),
        Bar(0.9, to="copy", dtype=torch.bfloat16, out_of_cache=True),
        Bar(1.4, dtype=torch.bfloat16, where=large),
        Bar(0.65, to="copy", mode="bwd", dtype=torch.bfloat16, out_of_cache=True),
    ),
)
