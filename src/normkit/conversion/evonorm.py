"""BatchNorm or GroupNorm and the activation behind it to one EvoNorm layer.

    S0: y = x·σ(v x)/sqrt(s²_group + ε) · γ + β
    S1: y = x·σ(x)/sqrt(s²_group + ε) · γ + β
    S2: y = x·σ(x)/sqrt(μ_group(x²) + ε) · γ + β
    B0: y = x/max(sqrt(s²_batch + ε), v x + sqrt(s²_instance + ε)) · γ + β
    B1: y = x/max(sqrt(s²_batch + ε), (x + 1)·sqrt(μ_instance(x²) + ε)) · γ + β
    B2: y = x/max(sqrt(s²_batch + ε), sqrt(μ_instance(x²) + ε) − x) · γ + β

Source: Liu et al. 2020, "Evolving Normalization-Activation Layers", arXiv:2004.02967, table 3 and section 5.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from normkit import nn as layers
from normkit.conversion._evonorm import Absorbing
from normkit.conversion._framework.norms import check_groups, described, groups_for

__all__ = [
    "ToEvoNorm",
    "ToEvoNormB0",
    "ToEvoNormB1",
    "ToEvoNormB2",
    "ToEvoNormS0",
    "ToEvoNormS1",
    "ToEvoNormS2",
]


@dataclass(frozen=True)
class ToEvoNormS0(Absorbing):
    """Replace norm and activation by `normkit.nn.EvoNorm2dS0`, which looks at one sample alone.

    Args:
        fit: see `Calibrated`.
        groups: number of channel groups, or `"auto"`: the largest divisor of the channels up to 32 that leaves at least
            two channels to a group.

    Raises:
        ValueError: `groups` is neither.
    """

    slug: ClassVar[str] = "evonorm-s0"
    made: ClassVar[type[nn.Module]] = layers.EvoNorm2dS0

    groups: int | str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_groups(self, self.groups)

    def layer(self, old: nn.Module, act: bool) -> nn.Module:
        """The new layer for the norm's channels."""
        channels, _, where = described(old)
        return self.made(channels, groups_for(channels, self.groups), apply_act=act, **where)


@dataclass(frozen=True)
class ToEvoNormS1(ToEvoNormS0):
    """Replace norm and activation by `normkit.nn.EvoNorm2dS1`, which looks at one sample alone and has no v.

    Args:
        fit: see `Calibrated`.
        groups: as in `ToEvoNormS0`.

    Raises:
        ValueError: `groups` is neither.
    """

    slug: ClassVar[str] = "evonorm-s1"
    made: ClassVar[type[nn.Module]] = layers.EvoNorm2dS1


@dataclass(frozen=True)
class ToEvoNormS2(ToEvoNormS0):
    """Replace norm and activation by `normkit.nn.EvoNorm2dS2`, of one sample's mean square, without v.

    Args:
        fit: see `Calibrated`.
        groups: as in `ToEvoNormS0`.

    Raises:
        ValueError: `groups` is neither.
    """

    slug: ClassVar[str] = "evonorm-s2"
    made: ClassVar[type[nn.Module]] = layers.EvoNorm2dS2


@dataclass(frozen=True)
class ToEvoNormB0(Absorbing):
    """Replace norm and activation by `normkit.nn.EvoNorm2dB0`, which uses the variance of the batch.

    Args:
        fit: see `Calibrated`.
    """

    slug: ClassVar[str] = "evonorm-b0"
    made: ClassVar[type[nn.Module]] = layers.EvoNorm2dB0

    def layer(self, old: nn.Module, act: bool) -> nn.Module:
        """The new layer for the norm's channels."""
        channels, _, where = described(old)
        return self.made(channels, apply_act=act, **where)


@dataclass(frozen=True)
class ToEvoNormB1(ToEvoNormB0):
    """Replace norm and activation by `normkit.nn.EvoNorm2dB1`, which uses the variance of the batch and has no v.

    Args:
        fit: see `Calibrated`.
    """

    slug: ClassVar[str] = "evonorm-b1"
    made: ClassVar[type[nn.Module]] = layers.EvoNorm2dB1


@dataclass(frozen=True)
class ToEvoNormB2(ToEvoNormB0):
    """Replace norm and activation by `normkit.nn.EvoNorm2dB2`, which uses the variance of the batch and has no v.

    Args:
        fit: see `Calibrated`.
    """

    slug: ClassVar[str] = "evonorm-b2"
    made: ClassVar[type[nn.Module]] = layers.EvoNorm2dB2


_KINDS: dict[str, type[Absorbing]] = {
    rule.slug.removeprefix("evonorm-"): rule
    for rule in (ToEvoNormB0, ToEvoNormB1, ToEvoNormB2, ToEvoNormS0, ToEvoNormS1, ToEvoNormS2)
}


def ToEvoNorm(kind: str = "s0", **options: Any) -> Absorbing:  # noqa: N802 - it makes a rule
    """The rule for an EvoNorm layer by its name, `"s0"` to `"s2"` or `"b0"` to `"b2"`, with that rule's options.

    Raises:
        ValueError: another name.
    """
    if kind not in _KINDS:
        raise ValueError(f"kind is {kind!r}: it must be one of {', '.join(_KINDS)}")
    return _KINDS[kind](**options)
