"""EvoNorm-B0 in training, against the layer as timm computes it and against the cost of BatchNorm followed by ReLU."""

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

_EPS = 1e-3


def _inputs(shape: tuple[int, ...], generator: torch.Generator) -> Inputs:
    (x,), (weight, bias, v) = normal(shape, generator), channel_parameters(shape[1], 3, generator)
    return (_off_the_kink(x, v), weight, bias, v)


def _off_the_kink(x: Float[Tensor, "b c h w"], v: Float[Tensor, " c"]) -> Float[Tensor, "b c h w"]:
    """Move the few elements whose two denominators nearly tie: there float32 and float64 may take different branches.

    The function is continuous there, its derivative is not, so a gradient would be compared with another one.
    """
    for _ in range(4):
        batch, instance = _deviations(x.double())
        near = (batch - (x * v.view(1, -1, 1, 1) + instance)).abs() < 1e-4
        x = torch.where(near, x + 0.01, x)
    return x


def _deviations(x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "1 c 1 1"], Float[Tensor, "b c 1 1"]]:
    """Standard deviations of the channels over the batch, and over each sample."""
    batch = x.var(dim=(0, 2, 3), unbiased=False, keepdim=True)
    instance = x.var(dim=(2, 3), unbiased=False, keepdim=True)
    return batch.add(_EPS).sqrt(), instance.add(_EPS).sqrt()


def _evonorm_b0(
    x: Float[Tensor, "b c h w"],
    weight: Float[Tensor, " c"],
    bias: Float[Tensor, " c"],
    v: Float[Tensor, " c"],
    **options: Any,
) -> Any:
    running_var = torch.ones_like(weight.detach())
    return F.evonorm_b0(x, weight, bias, v, running_var, True, 0.1, _EPS, **options)


def _timm(
    x: Float[Tensor, "b c h w"], weight: Float[Tensor, " c"], bias: Float[Tensor, " c"], v: Float[Tensor, " c"]
) -> Float[Tensor, "b c h w"]:
    """Timm's layer, restated: two variances in two reads, the larger denominator, then the affine part."""
    batch, instance = _deviations(x)
    variance, count = batch.detach().flatten() ** 2 - _EPS, x.numel() / x.shape[1]
    torch.ones_like(variance).lerp_(variance * (count / (count - 1)), 0.1)  # its running average
    divided = x / batch.max(x * v.view(1, -1, 1, 1) + instance)
    return divided * weight.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)


def _batch_norm_relu(
    x: Float[Tensor, "b c h w"], weight: Float[Tensor, " c"], bias: Float[Tensor, " c"], v: Float[Tensor, " c"]
) -> Float[Tensor, "b c h w"]:
    # `v` enters with weight 0, so that the same gradients can be asked for.
    normed = torch.nn.functional.batch_norm(x, None, None, weight, bias + 0.0 * v, training=True, eps=_EPS)
    return torch.nn.functional.relu(normed)


suite = Suite(
    op="evonorm_b0",
    family="layer",
    public=_evonorm_b0,
    reference=_timm,
    peers=(Peer("timm", _timm), Peer("batch_norm+relu", _batch_norm_relu, same=False)),
    inputs=_inputs,
    shapes=((2, 32, 4, 4), (4, 64, 14, 14), (8, 512, 7, 7), (32, 64, 28, 28), (16, 256, 14, 14), (16, 64, 112, 112)),
    user_shapes=((32, 64, 28, 28), (16, 256, 14, 14)),
    quick_shapes=((4, 64, 8, 8),),
    backward_shapes=((4, 64, 14, 14), (32, 64, 28, 28), (16, 256, 14, 14)),
    bars=(*never_slower("timm"), Bar(8.0, to="timm", where=large), Bar(2.0, to="torch.compile", where=large)),
    on_gpu=gpu_scenes((4, 64, 14, 14), (64, 256, 56, 56)),
    bars_on_gpu=alone_on_gpu("timm"),
)
