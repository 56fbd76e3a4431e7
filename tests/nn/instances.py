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
from normkit.nn.standardize_activation import StandardizedActivation
from normkit.search import known


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
        built = self.build.func if isinstance(self.build, partial) else self.build
        return getattr(built, "narrowed", built)

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


class SpreadThreeLayer(nn.LayerwiseThreeLayer):
    """With its one number a sample at every place of the input, so that the output has the input's shape."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[..., None].expand(x.shape)


_MAPS = (3, 4, 3, 2)
_OTHERS = {1: (3, 4, 5), 3: (3, 4, 2, 2, 1)}
_ONE_MAP = {"one element train": r"needs more than one value a channel|more than 1 value per channel"}
_BATCH_STATISTICS = {"vmap train": "aten::lerp_|updated in place"}
# The method's own: the estimates move with the batch but carry no gradient.
_CONSTANT_ESTIMATES = {"gradcheck train": "Jacobian mismatch", "gradgradcheck train": "Jacobian mismatch"}
_EST = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked", "estbn_moving_speed")
_BN = _EST[:-1]
_UNIFIED = ("weight", "bias", "running_var", "ema_gz", "buffer_x2", "buffer_gz", "iters", "skip_counter")
# The method's own: the backward pass is an approximation, affine in the gradient, which moves a state.
_APPROXIMATE_GRADIENT = {
    "gradcheck train": "Backward is not reentrant",
    "gradgradcheck train": "Jacobian mismatch",
    "forward derivative train": "jvp function",
    "vmap train": "broadcast shape",
}
# PowerNorm's backward pass is an approximation through a running statistic, by design.
_APPROXIMATE = {"gradcheck train": "not reentrant", "gradgradcheck train": "Jacobian mismatch"}
_IN_PLACE = {"vmap train": "vmap"}
_PN = ("weight", "bias", "running_phi", "ema_gz", "iters")
_LSTM_NORMS, _GRU_NORMS = ("ln_ih", "ln_hh", "ln_c"), ("ln_ih", "ln_hh", "ln_in", "ln_hn")
_RNB = ("foreground_gamma", "foreground_beta", "background_gamma", "background_beta")
_RNL = ("sa.conv1.weight", *(f"sa.{name}_conv.{kind}" for name in ("gamma", "beta") for kind in ("weight", "bias")))

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
    Instance(partial(nn.HermiteActivation, (0.0, 0.6, 0.0, 0.8)), (3, 4, 5), (), fixed_size=False),
    Instance(partial(StandardizedActivation, torch.nn.GELU()), (3, 5), (), fixed_size=False),
    Instance(partial(nn.PowerNorm, 4), (3, 5, 4), _PN, _APPROXIMATE | _IN_PLACE),
    Instance(
        partial(nn.PowerNorm, 4, warmup_iters=0, group_num=2), (6, 4), _PN, _APPROXIMATE | _IN_PLACE, label="cold"
    ),
    Instance(
        partial(nn.PowerNorm, 4, group_num=0, variant="pn-v", affine=False), (3, 2, 4), _PN[2:], _IN_PLACE, label="V"
    ),
    Instance(partial(nn.PowerNorm, 4, channel_dim=1), _MAPS, _PN, _APPROXIMATE | _IN_PLACE, label="maps"),
    Instance(partial(nn.EvoNorm2dS0, 4, groups=2), _MAPS, ("weight", "bias", "v")),
    Instance(partial(nn.EvoNorm2dS0, 4, group_size=4, apply_act=False), _MAPS, ("weight", "bias"), label="affine"),
    Instance(partial(nn.EvoNorm2dS0a, 4, groups=2), _MAPS, ("weight", "bias", "v"), slow=True),
    Instance(partial(nn.EvoNorm2dS0a, 4, groups=2, apply_act=False), _MAPS, ("weight", "bias"), label="divides"),
    Instance(partial(nn.EvoNorm2dS1, 4, groups=2), _MAPS, ("weight", "bias")),
    Instance(partial(nn.EvoNorm2dS2, 4, groups=2), _MAPS, ("weight", "bias")),
    Instance(partial(nn.EvoNorm2dB0, 4), _MAPS, ("weight", "bias", "v", "running_var"), _ONE_MAP | _BATCH_STATISTICS),
    Instance(partial(nn.EvoNorm2dB0, 4, apply_act=False), _MAPS, ("weight", "bias", "running_var"), label="affine"),
    Instance(partial(nn.GraphNorm2d, known["evonorm-s0"], 4, groups=2), _MAPS, ("weight", "bias", "v1"), label="S0"),
    Instance(
        partial(nn.GraphNorm2d, known["batch-norm-relu"], 4),
        _MAPS,
        ("weight", "bias", "running_mean", "running_var"),
        _ONE_MAP | _BATCH_STATISTICS,
        label="BN-ReLU",
    ),
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
    Instance(partial(nn.UnifiedNorm, 5), (3, 4, 5), _UNIFIED, _APPROXIMATE_GRADIENT),
    Instance(
        partial(nn.UnifiedNorm, 5, (2, 3), 0, outlier_filtration=True, momentum=0.5),
        (3, 5),
        _UNIFIED,
        _APPROXIMATE_GRADIENT,
        label="filter",
    ),
    Instance(partial(MaskedRegionNorm, num_regions=2), _MAPS, (), fixed_size=False),
    Instance(partial(MaskedRNB, 4), _MAPS, _RNB),
    Instance(
        partial(MaskedRNB, 4, "batch", affine_mode="official", eps_mode="official"), _MAPS, _RNB, label="official"
    ),
    Instance(partial(nn.RNL, 4, 0.5, 3), _MAPS, _RNL),
    Instance(
        partial(SpreadThreeLayer, 4, n_features_2=6),
        (3, 4),
        ("u", "c", "V", "s", "a", "b", "feat_mean", "feat_std", "intercept"),
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
