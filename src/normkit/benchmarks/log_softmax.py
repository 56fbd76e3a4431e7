"""log_softmax over the last axis, against torch and SciPy."""

from math import prod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from normkit import functional as F
from normkit.benchmarks._harness.bar import Bar, large, quick_on_gpu, trained
from normkit.benchmarks._harness.gpu_scenes import gpu_scenes
from normkit.benchmarks._harness.inputs import normal, rising
from normkit.benchmarks._harness.suite import Inputs, Peer, Suite

__all__ = ["suite"]


def _log_softmax(x: Float[Tensor, "*rows d"], **options: Any) -> Float[Tensor, "*rows d"]:
    return F.log_softmax(x, -1, **options)


def _torch(x: Float[Tensor, "*rows d"], **options: Any) -> Float[Tensor, "*rows d"]:
    return torch.log_softmax(x, -1, **options)


def _scipy(x: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
    from scipy.special import log_softmax

    return torch.from_numpy(log_softmax(x.numpy(), axis=-1))


def _scale(reference: Float[Tensor, "*rows d"], inputs: Inputs) -> Float[Tensor, "*rows d"]:
    """The result x − L is a difference: its error counts against the larger of |x| and |L|, at least 1."""
    x = inputs[0]
    return torch.maximum(x.abs(), torch.logsumexp(x, -1, keepdim=True).abs()).reshape(reference.shape).clamp_min(1.0)


suite = Suite(
    op="log_softmax",
    family="softmax-family",
    public=_log_softmax,
    reference=lambda x: torch.log_softmax(x, -1),
    peers=(
        Peer("torch", _torch, writes_out=True),
        Peer("scipy", _scipy, differentiable=False, largest=2**23, device="cpu"),
    ),
    inputs=normal,
    shapes=((512, 16), (256, 128), (64, 1024), (4096, 1024), (512, 50257)),
    user_shapes=((512, 50257),),
    quick_shapes=((64, 256), (64, 1024)),
    backward_shapes=((256, 128), (64, 1024), (4096, 1024)),
    fresh_shapes=((1, 16), (4096, 1024)),
    half_shapes=((64, 1024),),
    cases=(("rising", (64, 4096), rising),),
    writes_out=True,
    rowwise=True,
    scale=_scale,
    most_ulp=6.0,
    bars=(
        Bar(1 / 1.05, parallel=None, where=lambda shape: prod(shape) >= 256),
        Bar(1 / 1.4, parallel=None),  # the latency of a call: smaller ones stay ours, torch's are less accurate
        *trained(),
        Bar(1.9, where=large),
    ),
    on_gpu=gpu_scenes((64, 1024), (4096, 50257)),
    bars_on_gpu=(quick_on_gpu(), Bar(0.8, to="copy", out_of_cache=True)),
)
