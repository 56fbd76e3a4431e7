"""EvoNorm-B0 in training, against the layer as timm computes it and against the cost of BatchNorm followed by ReLU."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from normkit import functional as F
from normkit.benchmarks._harness.inputs import channel_parameters, normal
from normkit.benchmarks._harness.suite import Inputs, Peer, Suite

__all__ = ["suite"]

_EPS = 1e-3


def _inputs(shape: tuple[int, ...], generator: torch.Generator) -> Inputs:
    return (*normal(shape, generator), *channel_parameters(shape[1], 3, generator))


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
    variance = x.var(dim=(0, 2, 3), unbiased=False)
    count = x.numel() / x.shape[1]
    torch.ones_like(variance.detach()).lerp_(variance.detach() * (count / (count - 1)), 0.1)  # its running average
    batch = variance.add(_EPS).sqrt().view(1, -1, 1, 1)
    instance = x.var(dim=(2, 3), unbiased=False, keepdim=True).add(_EPS).sqrt()
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
    shapes=((4, 64, 14, 14), (32, 64, 28, 28), (16, 256, 14, 14)),
    user_shapes=((32, 64, 28, 28), (16, 256, 14, 14)),
    quick_shapes=((4, 64, 8, 8),),
    backward_shapes=((32, 64, 28, 28), (16, 256, 14, 14)),
)
