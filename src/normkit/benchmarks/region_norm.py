"""region_norm of images and masks with a gain and a shift a region, against masked sums in torch and instance_norm."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from normkit import functional as F
from normkit.benchmarks._harness.bar import Bar, large, trained
from normkit.benchmarks._harness.inputs import normal
from normkit.benchmarks._harness.suite import Inputs, Peer, Suite

__all__ = ["suite"]

_EPS = 1e-5


def _inputs(shape: tuple[int, ...], generator: torch.Generator) -> Inputs:
    batch, channels, *space = shape
    hole = torch.rand(batch, 1, *space, generator=generator) < 0.3
    parameters = 1 + 0.3 * torch.randn(2, 2, channels, generator=generator)
    return (*normal(shape, generator), hole, *parameters)


def _region_norm(
    x: Float[Tensor, "b c h w"],
    hole: Bool[Tensor, "b 1 h w"],
    weight: Float[Tensor, "2 c"],
    bias: Float[Tensor, "2 c"],
    **options: Any,
) -> Any:
    return F.region_norm(x, hole, 2, weight, bias, **options)


def _masked(
    x: Float[Tensor, "b c h w"], hole: Bool[Tensor, "b 1 h w"], weight: Float[Tensor, "2 c"], bias: Float[Tensor, "2 c"]
) -> Float[Tensor, "b c h w"]:
    """As one writes it: for each region a masked mean, a masked variance and a masked result, summed."""
    y = torch.zeros_like(x)
    for region, mask in enumerate((~hole, hole)):
        inside = mask.to(x.dtype)
        size = inside.sum((2, 3), keepdim=True).clamp_min(1)
        d = (x - (x * inside).sum((2, 3), keepdim=True) / size) * inside
        z = d / (d.square().sum((2, 3), keepdim=True) / size + _EPS).sqrt()
        y = y + z * weight[region].view(1, -1, 1, 1) + bias[region].view(1, -1, 1, 1) * inside
    return y


def _instance_norm(
    x: Float[Tensor, "b c h w"], hole: Bool[Tensor, "b 1 h w"], weight: Float[Tensor, "2 c"], bias: Float[Tensor, "2 c"]
) -> Float[Tensor, "b c h w"]:
    # The mean over the regions, so that the same gradients can be asked for.
    return torch.nn.functional.instance_norm(x, weight=weight.mean(0), bias=bias.mean(0), eps=_EPS)


suite = Suite(
    op="region_norm",
    family="layer",
    public=_region_norm,
    reference=_masked,
    peers=(Peer("torch", _masked), Peer("instance_norm", _instance_norm, same=False)),
    inputs=_inputs,
    shapes=((4, 16, 8, 8), (8, 16, 24, 24), (8, 32, 12, 12), (8, 64, 64, 64), (1, 64, 256, 256)),
    user_shapes=((8, 16, 24, 24), (2, 64, 128, 128)),
    quick_shapes=((4, 16, 8, 8),),
    backward_shapes=((8, 16, 24, 24), (8, 64, 64, 64)),
    bars=(Bar(1 / 1.05, parallel=None, where=large), *trained()),
)
