"""A training step (loss and gradients) of a small net that trains its normalisers alone, beside one that trains all.

Four convolutions of 32 channels, each with BatchNorm and ReLU; γ and β alone get gradients, the same in both. The row
shows that of a step the gradients of the weights are saved and nothing else: the backward pass still goes through every
layer.
"""

from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from normkit.benchmarks._harness.suite import Inputs, Peer, Suite

__all__ = ["suite"]

_CHANNELS, _LAYERS, _CLASSES = 32, 4, 10


def _inputs(shape: tuple[int, ...], generator: torch.Generator) -> Inputs:
    """Images (batch, 3, size, size), classes, and γ and β of each layer."""
    images = torch.randn(shape, generator=generator)
    classes = torch.randint(_CLASSES, (shape[0],), generator=generator)
    gains = torch.rand(_LAYERS, _CHANNELS, generator=generator) + 0.5
    shifts = 0.1 * torch.randn(_LAYERS, _CHANNELS, generator=generator)
    return (images, classes, *gains.unbind(), *shifts.unbind())


@cache
def _features() -> tuple[Tensor, ...]:
    """The frozen weights: four convolutions (He et al. 2015) and the output layer."""
    draw = torch.Generator().manual_seed(0)
    maps = [torch.randn(_CHANNELS, fan, 3, 3, generator=draw) / (4.5 * fan) ** 0.5 for fan in (3, *[_CHANNELS] * 3)]
    return (*maps, torch.randn(_CLASSES, _CHANNELS, generator=draw) / _CHANNELS**0.5)


def _loss(images: Tensor, classes: Tensor, affine: tuple[Tensor, ...], features: tuple[Tensor, ...]) -> Tensor:
    x, (*maps, head) = images, features
    for weight, gain, shift in zip(maps, affine[:_LAYERS], affine[_LAYERS:], strict=True):
        x = F.relu(F.batch_norm(F.conv2d(x, weight, padding=1), None, None, gain, shift, training=True))
    return F.cross_entropy(x.mean((2, 3)) @ head.T, classes)


def _affine_only(images: Float[Tensor, "b c h w"], classes: Int[Tensor, " b"], *affine: Tensor) -> Tensor:
    return _loss(images, classes, affine, tuple(weight.to(images.dtype) for weight in _features()))


def _everything(images: Float[Tensor, "b c h w"], classes: Int[Tensor, " b"], *affine: Tensor) -> Tensor:
    # The weights hang on γ with factor 0, so that their gradients are computed and the same ones are asked for.
    none = 0.0 * affine[0].sum()
    return _loss(images, classes, affine, tuple(weight.to(images.dtype) + none for weight in _features()))


suite = Suite(
    op="tuning_step",
    family="step",
    public=_affine_only,
    reference=_affine_only,
    peers=(Peer("all weights", _everything),),
    inputs=_inputs,
    shapes=(),
    user_shapes=((32, 3, 32, 32),),
    quick_shapes=((2, 3, 8, 8),),
    most_gradient_ulp=4096.0,  # a whole network in float32 against float64: 0.05 % of the largest entry
    bytes_forward=None,
    bytes_backward=None,
    forward=False,
)
