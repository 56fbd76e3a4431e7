"""One or more instances of every layer of `normkit.nn`, which the contract test walks. A layer without one fails it."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from normkit import nn


@dataclass(frozen=True)
class Instance:
    """How to build a layer, what it eats, what its checkpoint holds, and which checks it cannot pass by its nature.

    `fixed_size` is False for a layer that takes any size. `cannot` maps the name of a check, or of a check in one mode
    (`"vmap train"`), to a pattern of the error to expect.
    """

    build: Callable[..., torch.nn.Module]
    shape: tuple[int, ...]
    state: tuple[str, ...]
    cannot: dict[str, str] = field(default_factory=dict)
    label: str = ""
    fixed_size: bool = True

    @property
    def layer(self) -> type[torch.nn.Module]:
        return self.build.func if isinstance(self.build, partial) else self.build

    @property
    def name(self) -> str:
        return self.layer.__name__ + (f"-{self.label}" if self.label else "")

    def make(self, **options: Any) -> torch.nn.Module:
        """The layer as built from torch's seed 0; one that has no parameters need not take a device and a dtype."""
        torch.manual_seed(0)
        known = signature(self.layer).parameters
        return self.build(**{name: value for name, value in options.items() if name in known})

    def module(self, dtype: torch.dtype = torch.float64, **options: Any) -> torch.nn.Module:
        """The layer with parameters other than their initial ones, alike in every dtype but for the rounding."""
        layer, wide = self.make(dtype=dtype, **options), self.make(dtype=torch.float64)
        draw = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter, initial in zip(layer.parameters(), wide.parameters(), strict=True):
                if not parameter.is_meta:
                    noise = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
                    parameter.copy_(initial + 0.3 * noise)
        return layer

    def input(self, dtype: torch.dtype = torch.float64, seed: int = 2, shape: tuple[int, ...] | None = None) -> Tensor:
        draw = torch.Generator().manual_seed(seed)
        return (torch.randn(shape or self.shape, generator=draw, dtype=torch.float64) * 1.5 + 0.5).to(dtype)


def _hole(x: Tensor) -> Tensor:
    """A mask for maps (batch, channels, height, width): the left half is a hole, none in the first sample."""
    hole = torch.zeros_like(x[:, :1], dtype=torch.bool)
    hole[1:, ..., : x.shape[-1] // 2] = True
    return hole


class MaskedRegionNorm(nn.RegionNorm2d):
    """With a label map that follows from the input's shape, so that the layer can be called as all others are."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input, _hole(input))


class MaskedRNB(nn.RNB):
    """The same for the layer that takes a mask; without its warning of a batch of one."""

    def forward(self, input: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            return super().forward(input, _hole(input))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "RNB|MaskedRNB: in the batch style")
            return super().forward(input, _hole(input))


_MAPS = (3, 4, 3, 2)
_ONE_MAP = {"one element train": r"needs more than one value a channel|more than 1 value per channel"}
_BATCH_STATISTICS = {"vmap train": "aten::lerp_|updated in place"}
# The method's own: the estimates move with the batch but carry no gradient.
_CONSTANT_ESTIMATES = {"gradcheck train": "Jacobian mismatch", "gradgradcheck train": "Jacobian mismatch"}
_EST = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked", "estbn_moving_speed")
_BN = _EST[:-1]
_RNB = ("foreground_gamma", "foreground_beta", "background_gamma", "background_beta")
_RNL = ("sa.conv1.weight", *(f"sa.{name}_conv.{kind}" for name in ("gamma", "beta") for kind in ("weight", "bias")))

INSTANCES = [
    Instance(partial(nn.LayerNorm, 5), (3, 4, 5), ("weight", "bias")),
    Instance(partial(nn.LayerNorm, (4, 5), bias=False), (3, 4, 5), ("weight",), label="two-axes"),
    Instance(partial(nn.LayerNorm, 5, elementwise_affine=False), (3, 5), (), label="plain"),
    Instance(partial(nn.RMSNorm, 5, 1e-5), (3, 4, 5), ("weight",)),
    Instance(partial(nn.RMSNorm, 5, bias=True), (3, 5), ("weight", "bias"), label="bias"),
    Instance(partial(nn.RMSNorm, 5, 1e-6, offset=1.0, cast="gemma"), (3, 5), ("weight",), label="gemma"),
    Instance(partial(nn.RMSNorm, 5, 1e-6, cast="llama"), (3, 5), ("weight",), label="llama"),
    Instance(partial(nn.CRMSNorm, 5), (3, 4, 5), ()),
    Instance(partial(nn.CRMSNorm, 5, elementwise_affine=True), (3, 5), ("weight",), label="affine"),
    Instance(partial(nn.GroupNorm, 2, 4), _MAPS, ("weight", "bias")),
    Instance(partial(nn.GroupNorm, 1, 4, affine=False), _MAPS, (), label="plain"),
    Instance(partial(nn.Softmax, -1), (3, 4, 5), (), fixed_size=False),
    Instance(partial(nn.LogSoftmax, 1), (3, 4, 5), (), fixed_size=False),
    Instance(partial(nn.EvoNorm2dS0, 4, groups=2), _MAPS, ("weight", "bias", "v")),
    Instance(partial(nn.EvoNorm2dS0, 4, group_size=4, apply_act=False), _MAPS, ("weight", "bias"), label="affine"),
    Instance(partial(nn.EvoNorm2dB0, 4), _MAPS, ("weight", "bias", "v", "running_var"), _ONE_MAP | _BATCH_STATISTICS),
    Instance(partial(nn.EvoNorm2dB0, 4, apply_act=False), _MAPS, ("weight", "bias", "running_var"), label="affine"),
    Instance(partial(nn.EstBatchNorm2d, 4, 0.2), _MAPS, _EST, _CONSTANT_ESTIMATES | _BATCH_STATISTICS),
    Instance(
        partial(nn.BatchChannelNorm2d, 4, 2),
        _MAPS,
        ("weight", "bias", *(f"bn.{name}" for name in _EST)),
        _CONSTANT_ESTIMATES | _BATCH_STATISTICS,
    ),
    Instance(
        partial(nn.BatchChannelNorm2d, 4, "auto", style="batch"),
        _MAPS,
        ("weight", "bias", *(f"bn.{name}" for name in _BN)),
        _ONE_MAP | _BATCH_STATISTICS,
        label="batch",
    ),
    Instance(partial(MaskedRegionNorm, num_regions=2), _MAPS, (), fixed_size=False),
    Instance(partial(MaskedRNB, 4), _MAPS, _RNB),
    Instance(
        partial(MaskedRNB, 4, "batch", affine_mode="official", eps_mode="official"), _MAPS, _RNB, label="official"
    ),
    Instance(partial(nn.RNL, 4, 0.5, 3), _MAPS, _RNL),
]
