"""logsumexp over the last axis, against torch and SciPy."""

from math import prod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from normkit import functional as F
from normkit.benchmarks._harness.bar import Bar, large, never_slower, quick_on_gpu
from normkit.benchmarks._harness.gpu_scenes import gpu_scenes
from normkit.benchmarks._harness.inputs import normal, rising
from normkit.benchmarks._harness.suite import Peer, Suite

__all__ = ["suite"]


def _logsumexp(x: Float[Tensor, "*rows d"], **options: Any) -> Float[Tensor, "*rows"]:
    return F.logsumexp(x, -1, **options)


def _torch(x: Float[Tensor, "*rows d"], **options: Any) -> Float[Tensor, "*rows"]:
    return torch.logsumexp(x, -1, **options)


def _scipy(x: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows"]:
    from scipy.special import logsumexp

    return torch.from_numpy(logsumexp(x.numpy(), axis=-1))


suite = Suite(
    op="logsumexp",
    family="softmax-family",
    public=_logsumexp,
    reference=lambda x: torch.logsumexp(x, -1),
    peers=(
        Peer("torch", _torch, writes_out=True),
        Peer("scipy", _scipy, differentiable=False, largest=2**23, device="cpu"),
    ),
    inputs=normal,
    shapes=((512, 16), (256, 128), (64, 1024), (4096, 1024), (512, 50257)),
    user_shapes=((512, 50257),),
    quick_shapes=((64, 256), (64, 1024)),
    backward_shapes=((64, 1024), (4096, 1024)),
    fresh_shapes=((1, 16),),
    half_shapes=((64, 1024),),
    cases=(("rising", (64, 4096), rising),),
    bytes_forward=4,
    bytes_backward=8,
    writes_out=True,
    rowwise=True,
    bars=(*never_slower(), Bar(4.0, where=large)),
    on_gpu=gpu_scenes((64, 1024), (8192, 50257)),
    bars_on_gpu=(quick_on_gpu(), Bar(1.0, where=lambda shape: prod(shape) >= 2**22)),
)
