"""cross_entropy of logits and class indices, against torch and against log-softmax with a gather."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from normkit import functional as F
from normkit.benchmarks._harness.bar import Bar, large, never_slower, quick_on_gpu
from normkit.benchmarks._harness.gpu_scenes import gpu_scenes, on_gpu
from normkit.benchmarks._harness.inputs import normal
from normkit.benchmarks._harness.liger import liger_cross_entropy
from normkit.benchmarks._harness.suite import Inputs, Peer, Shape, Suite

__all__ = ["suite"]


def _cross_entropy(x: Float[Tensor, "rows classes"], target: Tensor, **options: Any) -> Float[Tensor, ""]:
    return F.cross_entropy(x, target, **options)


def _torch(x: Float[Tensor, "rows classes"], target: Tensor) -> Float[Tensor, ""]:
    return torch.nn.functional.cross_entropy(x, target)


def _gathered(x: Float[Tensor, "rows classes"], target: Tensor) -> Float[Tensor, ""]:
    return -torch.log_softmax(x, -1).gather(-1, target.unsqueeze(-1)).mean()


def _inputs(shape: Shape, generator: torch.Generator) -> Inputs:
    rows, classes = shape
    return (*normal(shape, generator), torch.randint(classes, (rows,), generator=generator))


suite = Suite(
    op="cross_entropy",
    family="softmax-family",
    public=_cross_entropy,
    reference=_torch,
    peers=(Peer("torch", _torch), Peer("log_softmax+gather", _gathered), liger_cross_entropy),
    inputs=_inputs,
    shapes=((512, 16), (64, 1024), (2048, 1024), (512, 50257)),
    user_shapes=((64, 1024), (2048, 1024), (512, 50257)),
    quick_shapes=((64, 1024),),
    backward_shapes=((64, 1024), (2048, 1024)),
    half_shapes=((2048, 1024),),
    bytes_forward=4,
    bytes_backward=8,
    # A mean of many rows: its error counts against the rows' own losses, not against the last place of the mean.
    most_ulp=16.0,
    bars=(*never_slower(), Bar(3.5, mode="fwd+bwd", parallel=None, where=large)),
    on_gpu=(*gpu_scenes((64, 1024), (4096, 50257)), on_gpu((8192, 50257), "fwd+bwd", torch.bfloat16)),
    bars_on_gpu=(quick_on_gpu(), Bar(1.0, mode="fwd+bwd", where=large)),
)
