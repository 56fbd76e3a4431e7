"""A training step (loss and all gradients) of a small ResNet with EvoNorm-S0, by normkit and as timm computes it.

Four pre-activation blocks of 64 channels with standardised convolutions; the two steps differ in EvoNorm-S0 and in
weight standardisation only. A third row shows what the net costs with BatchNorm and ReLU, which is another function.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from normkit import functional as F
from normkit.benchmarks import evonorm_s0, weight_standardize
from normkit.benchmarks._harness.gpu_scenes import on_gpu
from normkit.benchmarks._harness.inputs import channel_parameters
from normkit.benchmarks._harness.suite import Inputs, Peer, Suite

__all__ = ["suite"]

_CHANNELS, _BLOCKS, _CLASSES, _GROUPS = 64, 4, 10, 32


class _Layers(NamedTuple):
    norm_act: Callable[..., Tensor]
    weight: Callable[[Tensor], Tensor]


def _batch_norm_relu(
    x: Float[Tensor, "b c h w"], weight: Float[Tensor, " c"], bias: Float[Tensor, " c"], v: Float[Tensor, " c"]
) -> Float[Tensor, "b c h w"]:
    normed = torch.nn.functional.batch_norm(x, None, None, weight, bias + 0.0 * v, training=True)
    return torch.nn.functional.relu(normed)


_OURS = _Layers(lambda x, weight, bias, v: F.evonorm_s0(x, weight, bias, v, _GROUPS), F.weight_standardize)
_TIMM = _Layers(evonorm_s0.suite.reference, weight_standardize.suite.reference)
_USUAL = _Layers(_batch_norm_relu, lambda weight: weight)


def _inputs(shape: tuple[int, ...], generator: torch.Generator) -> Inputs:
    """Images (batch, 3, size, size), classes, stem, head, and per block two convolutions and two norms."""
    images = torch.randn(shape, generator=generator)
    classes = torch.randint(_CLASSES, (shape[0],), generator=generator)
    stem = torch.randn(_CHANNELS, shape[1], 3, 3, generator=generator)
    head = torch.randn(_CLASSES, _CHANNELS, generator=generator) * 0.1
    blocks = [
        tensor
        for _ in range(2 * _BLOCKS)
        for tensor in (
            torch.randn(_CHANNELS, _CHANNELS, 3, 3, generator=generator),
            *channel_parameters(_CHANNELS, 3, generator),
        )
    ]
    return (images, classes, stem, head, *blocks)


def _loss(layers: _Layers, images: Float[Tensor, "b c h w"], classes: Int[Tensor, " b"], *weights: Tensor) -> Tensor:
    stem, head, *rest = weights
    halves = [rest[start : start + 4] for start in range(0, len(rest), 4)]
    x = torch.nn.functional.conv2d(images, stem, padding=1) / 5
    for first, second in zip(halves[::2], halves[1::2], strict=True):
        branch = x
        for convolution, *parameters in (first, second):
            # Standardised filters have length √n: 0.04 ≈ 1/√(9·64) keeps the branch at the input's size.
            kernel = 0.04 * layers.weight(convolution)
            branch = torch.nn.functional.conv2d(layers.norm_act(branch, *parameters), kernel, padding=1)
        x = x + branch
    return torch.nn.functional.cross_entropy(x.mean((2, 3)) @ head.T, classes)


def _step(layers: _Layers) -> Callable[..., Tensor]:
    return lambda images, classes, *weights: _loss(layers, images, classes, *weights)


suite = Suite(
    op="resnet_step",
    family="step",
    public=_step(_OURS),
    reference=_step(_TIMM),
    peers=(Peer("timm", _step(_TIMM)), Peer("batch_norm+relu", _step(_USUAL), same=False)),
    inputs=_inputs,
    shapes=(),
    user_shapes=((16, 3, 32, 32),),
    on_gpu=(on_gpu((256, 3, 32, 32), "fwd+bwd"),),
    quick_shapes=((2, 3, 8, 8),),
    most_gradient_ulp=4096.0,  # a whole network in float32 against float64: 0.05 % of the largest entry
    bytes_forward=None,
    bytes_backward=None,
    forward=False,
)
