"""One or more modules for every parametrisation of `normkit.weights`, which the contract test walks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from normkit import weights


@dataclass(frozen=True)
class Instance:
    """A module with normalised weights: how it is built, what it eats, what its checkpoint holds, what it bakes to."""

    name: str
    of: tuple[type[nn.Module], ...]
    build: Callable[..., nn.Module]
    shape: tuple[int, ...]
    state: tuple[str, ...]
    plain: type[nn.Module]

    def module(self, dtype: torch.dtype = torch.float64, **options: Any) -> nn.Module:
        """The module, always the same, with weights and gains other than their initial ones."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            module = self.build(dtype=dtype, **options)
        draw = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in module.parameters():
                if not parameter.is_meta:
                    noise = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
                    parameter.add_(0.3 * noise.to(parameter.dtype))
        return module

    def input(self, dtype: torch.dtype = torch.float64) -> Tensor:
        draw = torch.Generator().manual_seed(2)
        if self.plain is nn.Embedding:
            return torch.randint(0, 7, self.shape, generator=draw)
        return torch.randn(self.shape, generator=draw, dtype=torch.float64).to(dtype)


def _standardized(plain: type[nn.Module], *args: Any, **standardization: Any) -> Callable[..., nn.Module]:
    return lambda **options: weights.weight_standardization(plain(*args, **options), **standardization)


def _zero_mean(plain: type[nn.Module], *args: Any, **choice: Any) -> Callable[..., nn.Module]:
    return lambda **options: weights.zero_mean_output(plain(*args, **options), **choice)


def _layer(layer: type[nn.Module], *args: Any, **standardization: Any) -> Callable[..., nn.Module]:
    return lambda **options: layer(*args, **standardization, **options)


def _subset(plain: type[nn.Module], *args: Any) -> Callable[..., nn.Module]:
    def build(**options: Any) -> nn.Module:
        module = plain(*args, **options)
        weights.random_subset(module)
        return module

    return build


_WS, _ZM = weights.WeightStandardization, weights.ZeroMeanOutput
_ORIGINAL = "parametrizations.weight.original"
_PLAIN = ("weight", "bias")

_SUBSET = ("bias", _ORIGINAL, "parametrizations.weight.0.base", "parametrizations.weight.0.index")

INSTANCES = [
    Instance("subset-conv2d", (weights.RandomSubset,), _subset(nn.Conv2d, 3, 4, 2), (2, 3, 3, 3), _SUBSET, nn.Conv2d),
    Instance("ws-conv2d", (_WS,), _standardized(nn.Conv2d, 3, 4, 2), (2, 3, 3, 3), ("bias", _ORIGINAL), nn.Conv2d),
    Instance(
        "ws-linear-bcn", (_WS,), _standardized(nn.Linear, 5, 3, variant="bcn"), (4, 5), ("bias", _ORIGINAL), nn.Linear
    ),
    Instance(
        "ws-conv1d-timm-gain",
        (_WS,),
        _standardized(nn.Conv1d, 3, 4, 3, variant="timm", eps=1e-4, gain=True),
        (2, 3, 5),
        ("bias", _ORIGINAL, "parametrizations.weight.0.gain"),
        nn.Conv1d,
    ),
    Instance(
        "ws-transposed",
        (_WS,),
        _standardized(nn.ConvTranspose2d, 4, 6, 2, 1, 0, 0, 2, gain=True),
        (2, 4, 3, 3),
        ("bias", _ORIGINAL, "parametrizations.weight.0.gain"),
        nn.ConvTranspose2d,
    ),
    Instance("WSConv1d", (weights.WSConv1d,), _layer(weights.WSConv1d, 3, 4, 3), (2, 3, 5), _PLAIN, nn.Conv1d),
    Instance("WSConv2d", (weights.WSConv2d,), _layer(weights.WSConv2d, 3, 4, 2), (2, 3, 3, 3), _PLAIN, nn.Conv2d),
    Instance(
        "WSConv2d-gain",
        (weights.WSConv2d,),
        _layer(weights.WSConv2d, 3, 4, 2, gain=True, variant="timm"),
        (2, 3, 3, 3),
        (*_PLAIN, "gain"),
        nn.Conv2d,
    ),
    Instance("WSConv3d", (weights.WSConv3d,), _layer(weights.WSConv3d, 2, 3, 2), (2, 2, 3, 3, 3), _PLAIN, nn.Conv3d),
    Instance("WSLinear", (weights.WSLinear,), _layer(weights.WSLinear, 5, 3), (4, 5), _PLAIN, nn.Linear),
    Instance(
        "zero-mean-linear",
        (_ZM,),
        _zero_mean(nn.Linear, 5, 3),
        (4, 5),
        (_ORIGINAL, "parametrizations.bias.original"),
        nn.Linear,
    ),
    Instance("zero-mean-table", (_ZM,), _zero_mean(nn.Embedding, 7, 4), (2, 3), (_ORIGINAL,), nn.Embedding),
    Instance(
        "ZeroMeanLinear", (weights.ZeroMeanLinear,), _layer(weights.ZeroMeanLinear, 5, 3), (4, 5), _PLAIN, nn.Linear
    ),
    Instance(
        "ZeroMeanEmbedding",
        (weights.ZeroMeanEmbedding,),
        _layer(weights.ZeroMeanEmbedding, 7, 4),
        (2, 3),
        ("weight",),
        nn.Embedding,
    ),
]
