"""One or more instances of every layer of `normkit.nn`, which the contract test walks. A layer without one fails it."""

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
    (`"vmap train"`), to a pattern of the error to expect. `slow` is a layer whose every line another instance runs,
    such as the same over another number of axes: the default suite leaves it out of what takes long.
    """

    build: Callable[..., torch.nn.Module]
    shape: tuple[int, ...]
    state: tuple[str, ...]
    cannot: dict[str, str] = field(default_factory=dict)
    label: str = ""
    fixed_size: bool = True
    slow: bool = False

    @property
    def channels_second(self) -> bool:
        """Whether the input is (batch, channels, space), as the 1d, 2d and 3d layers have it."""
        return len(self.shape) > 3 or any(f"{axes}d" in self.layer.__name__ for axes in (1, 2, 3))

    @property
    def layer(self) -> type[torch.nn.Module]:
        return self.build.func if isinstance(self.build, partial) else self.build

    @property
    def name(self) -> str:
        return self.layer.__name__ + (f"-{self.label}" if self.label else "")

    def make(self, **options: Any) -> torch.nn.Module:
        """The layer as built; one that has no parameters need not take a device and a dtype."""
        known = signature(self.layer).parameters
        return self.build(**{name: value for name, value in options.items() if name in known})

    def module(self, dtype: torch.dtype = torch.float64, **options: Any) -> torch.nn.Module:
        """The layer with parameters other than their initial ones."""
        layer = self.make(dtype=dtype, **options)
        draw = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in layer.parameters():
                if not parameter.is_meta:
                    noise = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
                    parameter.add_(0.3 * noise.to(parameter.dtype))
        return layer

    def input(self, dtype: torch.dtype = torch.float64, seed: int = 2, shape: tuple[int, ...] | None = None) -> Tensor:
        draw = torch.Generator().manual_seed(seed)
        return (torch.randn(shape or self.shape, generator=draw, dtype=torch.float64) * 1.5 + 0.5).to(dtype)


_MAPS = (3, 4, 3, 2)
_OTHERS = {1: (3, 4, 5), 3: (3, 4, 2, 2, 1)}
_ONE_MAP = {"one element train": r"needs more than one value a channel|more than 1 value per channel"}
_BATCH_STATISTICS = {"vmap train": "aten::lerp_|updated in place"}
# The method's own: the estimates move with the batch but carry no gradient.
_CONSTANT_ESTIMATES = {"gradcheck train": "Jacobian mismatch", "gradgradcheck train": "Jacobian mismatch"}
_EST = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked", "estbn_moving_speed")
_BN = _EST[:-1]

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
    Instance(partial(nn.EvoNorm2dS0a, 4, groups=2), _MAPS, ("weight", "bias", "v"), slow=True),
    Instance(partial(nn.EvoNorm2dS0a, 4, groups=2, apply_act=False), _MAPS, ("weight", "bias"), label="divides"),
    Instance(partial(nn.EvoNorm2dS1, 4, groups=2), _MAPS, ("weight", "bias")),
    Instance(partial(nn.EvoNorm2dS2, 4, groups=2), _MAPS, ("weight", "bias")),
    Instance(partial(nn.EvoNorm2dB0, 4), _MAPS, ("weight", "bias", "v", "running_var"), _ONE_MAP | _BATCH_STATISTICS),
    Instance(partial(nn.EvoNorm2dB0, 4, apply_act=False), _MAPS, ("weight", "bias", "running_var"), label="affine"),
    Instance(partial(nn.EvoNorm2dB1, 4), _MAPS, ("weight", "bias", "running_var"), _ONE_MAP | _BATCH_STATISTICS),
    Instance(partial(nn.EvoNorm2dB2, 4), _MAPS, ("weight", "bias", "running_var"), _ONE_MAP | _BATCH_STATISTICS),
    *(
        Instance(partial(getattr(nn, f"EvoNorm{axes}dS{kind}"), 4, groups=2), shape, state, slow=True)
        for axes, shape in _OTHERS.items()
        for kind, state in (
            ("0", ("weight", "bias", "v")),
            ("0a", ("weight", "bias", "v")),
            ("1", ("weight", "bias")),
            ("2", ("weight", "bias")),
        )
    ),
    *(
        Instance(
            partial(getattr(nn, f"EvoNorm{axes}dB{kind}"), 4),
            shape,
            ("weight", "bias", *(["v"] if kind == "0" else []), "running_var"),
            _ONE_MAP | _BATCH_STATISTICS,
            slow=True,
        )
        for axes, shape in _OTHERS.items()
        for kind in ("0", "1", "2")
    ),
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
    *(
        Instance(
            partial(getattr(nn, f"EstBatchNorm{axes}d"), 4),
            shape,
            _EST,
            _CONSTANT_ESTIMATES | _BATCH_STATISTICS,
            slow=True,
        )
        for axes, shape in _OTHERS.items()
    ),
    *(
        Instance(
            partial(getattr(nn, f"BatchChannelNorm{axes}d"), 4, 2, style=style),
            shape,
            ("weight", "bias", *(f"bn.{name}" for name in (_EST if style == "estimate" else _BN))),
            (_CONSTANT_ESTIMATES if style == "estimate" else _ONE_MAP) | _BATCH_STATISTICS,
            label=style,
            slow=True,
        )
        for axes, shape in _OTHERS.items()
        for style in ("estimate", "batch")
    ),
]
