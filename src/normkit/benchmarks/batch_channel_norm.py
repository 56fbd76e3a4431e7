"""batch_channel_norm in training, estimate style, against its two normalisations one after the other."""

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

_GROUPS, _EPS, _SPEED = 32, 1e-5, 0.1


def _inputs(shape: tuple[int, ...], generator: torch.Generator) -> Inputs:
    by_group = (each.view(1, -1, 1) for each in channel_parameters(_GROUPS, 2, generator))
    return (*normal(shape, generator), *channel_parameters(shape[1], 2, generator), *by_group)


def _batch_channel_norm(
    x: Float[Tensor, "b c h w"],
    gamma: Float[Tensor, " c"],
    beta: Float[Tensor, " c"],
    weight: Float[Tensor, "1 g 1"],
    bias: Float[Tensor, "1 g 1"],
    **options: Any,
) -> Any:
    mean, var = torch.zeros_like(gamma.detach()), torch.ones_like(gamma.detach())
    return F.batch_channel_norm(
        x, mean, var, gamma, beta, _GROUPS, weight, bias, True, "estimate", _SPEED, _EPS, **options
    )


def _two_norms(
    x: Float[Tensor, "b c h w"],
    gamma: Float[Tensor, " c"],
    beta: Float[Tensor, " c"],
    weight: Float[Tensor, "1 g 1"],
    bias: Float[Tensor, "1 g 1"],
) -> Float[Tensor, "b c h w"]:
    """Move the estimates, normalise by them with torch's batch_norm, then torch's group_norm with a gain per group."""
    with torch.no_grad():
        # The estimates start at mean 0 and variance 1, so the mean square is the second moment around the old mean.
        mean = _SPEED * x.mean((0, 2, 3))
        var = (1 - _SPEED) + _SPEED * x.square().mean((0, 2, 3))
    normed = torch.nn.functional.batch_norm(x, mean, var, gamma, beta, training=False, eps=_EPS)
    per_group = x.shape[1] // _GROUPS
    gain, shift = (each.reshape(-1).repeat_interleave(per_group) for each in (weight, bias))
    return torch.nn.functional.group_norm(normed, _GROUPS, gain, shift, _EPS)


suite = Suite(
    op="batch_channel_norm",
    family="layer",
    public=_batch_channel_norm,
    reference=_two_norms,
    peers=(Peer("torch", _two_norms),),
    inputs=_inputs,
    shapes=((2, 32, 4, 4), (4, 64, 14, 14), (8, 512, 7, 7), (32, 64, 28, 28), (16, 256, 14, 14), (16, 64, 112, 112)),
    user_shapes=((32, 64, 28, 28), (2, 256, 14, 14)),
    quick_shapes=((4, 64, 8, 8),),
    backward_shapes=((4, 64, 14, 14), (32, 64, 28, 28), (16, 256, 14, 14)),
    bars=(*never_slower(), Bar(4.0, where=large)),
    on_gpu=gpu_scenes((4, 64, 14, 14), (64, 256, 56, 56)),
    bars_on_gpu=alone_on_gpu(),
)
