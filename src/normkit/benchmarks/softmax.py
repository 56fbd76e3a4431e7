"""softmax over the last axis, against torch, SciPy and oneDNN (through torch's own tensors for it)."""

from math import prod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from normkit import functional as F
from normkit.benchmarks._harness.bar import Bar, large, quick_on_gpu, trained
from normkit.benchmarks._harness.gpu_scenes import gpu_scenes, on_gpu
from normkit.benchmarks._harness.inputs import normal, rising
from normkit.benchmarks._harness.liger import liger_softmax
from normkit.benchmarks._harness.suite import Case, Peer, Shape, Suite, element_scale

__all__ = ["suite"]


def _softmax(x: Float[Tensor, "*shape"], dim: int = -1, **options: Any) -> Float[Tensor, "*shape"]:
    return F.softmax(x, dim, **options)


def _torch(x: Float[Tensor, "*shape"], dim: int = -1, **options: Any) -> Float[Tensor, "*shape"]:
    return torch.softmax(x, dim, **options)


def _scipy(x: Float[Tensor, "*shape"], dim: int = -1) -> Float[Tensor, "*shape"]:
    from scipy.special import softmax

    return torch.from_numpy(softmax(x.numpy(), axis=dim))


def _wide(shape: Shape) -> Float[Tensor, "*shape"]:
    """Uniform in [−1000, 1000], as the paper's own benchmark has it."""
    return torch.empty(shape).uniform_(-1000, 1000, generator=torch.Generator().manual_seed(0))


def _transposed(shape: Shape) -> Float[Tensor, "*shape"]:
    """Rows along the last axis whose entries lie apart in memory."""
    return torch.randn(shape[::-1], generator=torch.Generator().manual_seed(0)).T


_PAPER = tuple(f"normkit/{name}" for name in ("two-pass-paper", "three-pass-reload", "three-pass-recompute"))
_LENGTHS = tuple((1, 2**exponent) for exponent in range(14, 27, 2))

_BARS = (
    *trained(),
    Bar(1.4, output="reused", where=lambda shape: 16 <= shape[-1] < 64),
    Bar(2.0, output="reused", where=lambda shape: shape[-1] >= 64),
    Bar(1.8, output="reused", parallel=True, where=lambda shape: shape[-1] >= 64 and prod(shape) >= 2**15),
    Bar(1 / 1.4, output="fresh", where=lambda shape: shape == (1, 16)),  # the latency of a call that allocates
    Bar(3.0, output="fresh", where=lambda shape: 4 * prod(shape) >= 2**27),
    Bar(1.1, mode="bwd"),
    Bar(1 / 1.25, to="copy", output="reused", where=lambda shape: shape[-1] <= 2**16, out_of_cache=True),
    Bar(1.0, case="rising"),  # no order of the input is slower than torch
    Bar(1.05, variant=_PAPER[0], to=_PAPER[2], case="wide", where=lambda shape: shape[-1] >= 2**22),
    *(Bar(1 / 1.1, to=variant, case="wide") for variant in _PAPER),
)

suite = Suite(
    op="softmax",
    family="softmax-family",
    public=_softmax,
    reference=_torch,
    peers=(
        Peer("torch", _torch, writes_out=True),
        Peer("onednn", _torch, differentiable=False, device="cpu", prepare=lambda inputs: (inputs[0].to_mkldnn(),)),
        Peer("scipy", _scipy, differentiable=False, largest=2**23, device="cpu"),
        liger_softmax,
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
    cases=(
        Case("rising", ((64, 4096), *_LENGTHS[:-1:2]), rising),
        Case("wide", _LENGTHS, _wide, kernels=True),
        Case("dim=1", ((64, 512, 16), (32, 256, 14 * 14), (8, 21, 128 * 128)), options={"dim": 1}),
        Case("transposed", ((64, 1024), (4096, 1024)), _transposed),
    ),
    bars=_BARS,
    writes_out=True,
    rowwise=True,
    scale=element_scale,
    most_ulp=6.0,
    on_gpu=(*gpu_scenes((64, 1024), (16384, 4096)), on_gpu((16384, 131072)), on_gpu((4096, 65536), "bwd")),
    bars_on_gpu=(
        quick_on_gpu(),
        Bar(1.0, mode="fwd+bwd", where=large),
        Bar(0.8, to="copy", out_of_cache=True),
    ),
)
