"""layer_norm over the last axis with gain and shift, against torch."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from normkit import functional as F
from normkit.benchmarks._harness.bar import Bar, large, never_slower, quick_on_gpu
from normkit.benchmarks._harness.gpu_scenes import gpu_scenes, on_gpu
from normkit.benchmarks._harness.inputs import channel_parameters, normal
from normkit.benchmarks._harness.liger import liger_layer_norm
from normkit.benchmarks._harness.suite import Inputs, Peer, Suite

__all__ = ["suite"]


def _inputs(shape: tuple[int, ...], generator: torch.Generator) -> Inputs:
    return (*normal(shape, generator), *channel_parameters(shape[-1], 2, generator))


def _layer_norm(
    x: Float[Tensor, "*rows d"], weight: Float[Tensor, " d"], bias: Float[Tensor, " d"], **options: Any
) -> Any:
    return F.layer_norm(x, weight.shape, weight, bias, **options)


def _torch(
    x: Float[Tensor, "*rows d"],
    weight: Float[Tensor, " d"],
    bias: Float[Tensor, " d"],
) -> Float[Tensor, "*rows d"]:
    return torch.nn.functional.layer_norm(x, weight.shape, weight, bias)


# Fresh outputs on both sides: torch has no layer_norm that writes into given memory (`native_layer_norm.out` computes
# a fresh result and copies it).
suite = Suite(
    op="layer_norm",
    family="norm",
    public=_layer_norm,
    reference=_torch,
    peers=(Peer("torch", _torch), liger_layer_norm),
    inputs=_inputs,
    shapes=((1, 16), (256, 128), (64, 1024), (4096, 1024), (1024, 1536), (8192, 4096)),
    user_shapes=((8, 128, 768),),
    quick_shapes=((64, 128), (64, 1024)),
    backward_shapes=((64, 1024), (4096, 1024)),
    rowwise=True,
    bars=(*never_slower(), Bar(1.2, where=large), Bar(1.4, mode="bwd", where=large)),
    on_gpu=(*gpu_scenes((64, 1024), (4096, 16384)), on_gpu((8192, 4096), "fwd+bwd", torch.bfloat16)),
    bars_on_gpu=(
        quick_on_gpu(),
        Bar(0.9, to="copy", out_of_cache=True),
        Bar(0.65, to="copy", mode="bwd", out_of_cache=True),
    ),
)
