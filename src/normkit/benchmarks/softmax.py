"""softmax over the last axis, against torch, SciPy and oneDNN (through torch's own tensors for it)."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from normkit import functional as F
from normkit.benchmarks._harness.inputs import normal, rising
from normkit.benchmarks._harness.suite import Peer, Suite, element_scale

__all__ = ["suite"]


def _softmax(x: Float[Tensor, "*rows d"], **options: Any) -> Float[Tensor, "*rows d"]:
    return F.softmax(x, -1, **options)


def _torch(x: Float[Tensor, "*rows d"], **options: Any) -> Float[Tensor, "*rows d"]:
    return torch.softmax(x, -1, **options)


def _scipy(x: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
    from scipy.special import softmax

    return torch.from_numpy(softmax(x.numpy(), axis=-1))


suite = Suite(
    op="softmax",
    family="softmax-family",
    public=_softmax,
    reference=lambda x: torch.softmax(x, -1),
    peers=(
        Peer("torch", _torch, writes_out=True),
        Peer("onednn", _torch, differentiable=False, prepare=lambda inputs: (inputs[0].to_mkldnn(),)),
        Peer("scipy", _scipy, differentiable=False, largest=2**23),
    ),
    inputs=normal,
    shapes=(
        (512, 16),
        (256, 32),
        (768, 64),
        (256, 128),
        (64, 512),
        (64, 1024),
        (4096, 1024),
        (8192, 4096),
        (1024, 32768),
        (256, 131072),
        (1, 2**20),
        (1, 2**25),
    ),
    user_shapes=((8, 8, 256, 256), (512, 50257)),
    quick_shapes=((64, 256), (256, 32), (64, 1024)),
    backward_shapes=((256, 128), (64, 1024), (4096, 1024), (8192, 4096)),
    fresh_shapes=((1, 16), (64, 1024), (4096, 1024), (8192, 4096)),
    half_shapes=((64, 1024), (4096, 1024)),
    cases=(("rising", (64, 4096), rising),),
    writes_out=True,
    rowwise=True,
    scale=element_scale,
    most_ulp=6.0,
)
