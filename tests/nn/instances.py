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
        built = self.build.func if isinstance(self.build, partial) else self.build
        return getattr(built, "narrowed", built)

    @property
    def name(self) -> str:
        return self.layer.__name__ + (f"-{self.label}" if self.label else "")

    def make(self, **options: Any) -> torch.nn.Module:
        """The layer as built from seed 0; one that has no parameters need not take a device and a dtype."""
        torch.manual_seed(0)
        known = signature(self.layer).parameters
        return self.build(**{name: value for name, value in options.items() if name in known})

    def module(self, dtype: torch.dtype = torch.float64, **options: Any) -> torch.nn.Module:
        """The layer with parameters other than their initial ones."""
        layer = self.make(dtype=dtype, **options)
        if not any(parameter.is_meta for parameter in layer.parameters()):
            layer.load_state_dict(self.make(dtype=torch.float64, **options).state_dict())  # a draw depends on the type
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


def first_output(layer: type[torch.nn.Module]) -> type[torch.nn.Module]:
    """`layer` as a map from one tensor to one: what it returns first, from zero states."""

    class Narrowed(layer):  # type: ignore[misc, valid-type]
        narrowed = layer

        def forward(self, input: Tensor) -> Tensor:
            output = super().forward(input)
            return output if isinstance(output, Tensor) else output[0]

    Narrowed.__name__ = Narrowed.__qualname__ = layer.__name__
    return Narrowed


def _recurrent(layer: type[torch.nn.Module], norms: tuple[str, ...], suffixes: tuple[str, ...], **options: Any) -> Any:
    """An instance whose output has the input's shape: as many entries a step, sequences of the batch in the rows."""
    weights = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    state = [name + suffix for suffix in suffixes for name in weights]
    state += [f"{norm}{suffix}.{name}" for suffix in suffixes for norm in norms for name in ("weight", "bias")]
    cell = suffixes == ("",)
    hidden = 2 if options.get("bidirectional") else 4
    build = partial(first_output(layer), 4, hidden, **options if cell else options | {"batch_first": True})
    label = "-".join(str(name) for name in options)
    return Instance(build, (3, 4) if cell else (3, 2, 4), tuple(state), label=label)


_MAPS = (3, 4, 3, 2)
_ONE_MAP = {"one element train": r"needs more than one value a channel|more than 1 value per channel"}
_BATCH_STATISTICS = {"vmap train": "aten::lerp_|updated in place"}
# The method's own: the estimates move with the batch but carry no gradient.
_CONSTANT_ESTIMATES = {"gradcheck train": "Jacobian mismatch", "gradgradcheck train": "Jacobian mismatch"}
_EST = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked", "estbn_moving_speed")
_BN = _EST[:-1]
_LSTM_NORMS, _GRU_NORMS = ("ln_ih", "ln_hh", "ln_c"), ("ln_ih", "ln_hh", "ln_in", "ln_hn")

INSTANCES = [
    Instance(partial(nn.LayerNorm, 5), (3, 4, 5), ("weight", "bias")),
    Instance(partial(nn.LayerNorm, (4, 5), bias=False), (3, 4, 5), ("weight",), label="two-axes"),
    Instance(partial(nn.LayerNorm, 5, elementwise_affine=False), (3, 5), (), label="plain"),
    _recurrent(nn.LayerNormLSTMCell, _LSTM_NORMS, ("",)),
    _recurrent(nn.LayerNormGRUCell, _GRU_NORMS, ("",)),
    _recurrent(nn.LayerNormRNNCell, ("ln",), ("",)),
    _recurrent(nn.LayerNormLSTM, _LSTM_NORMS, ("_l0", "_l0_reverse"), bidirectional=True),
    _recurrent(nn.LayerNormGRU, _GRU_NORMS, ("_l0",)),
    _recurrent(nn.LayerNormRNN, ("ln",), ("_l0", "_l1"), num_layers=2),
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
]
