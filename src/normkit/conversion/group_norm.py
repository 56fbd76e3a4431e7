"""BatchNorm to GroupNorm: y = γ (x − μ_g)/sqrt(σ_g² + ε) + β over groups of channels of each sample.

γ and β are fitted per channel, by least squares, to the old layer's output.

Source: Wu and He 2018, "Group Normalization", arXiv:1803.08494.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from normkit.conversion._framework.fitting import fit_affine
from normkit.conversion._framework.norms import check_groups, check_own_forward, described, groups_for
from normkit.conversion._framework.pairs import Pairs
from normkit.conversion._framework.rule import Calibrated, Site

__all__ = ["ToGroupNorm"]


@dataclass(frozen=True)
class ToGroupNorm(Calibrated):
    """Replace BatchNorms of any number of dimensions by `nn.GroupNorm`, which needs no batch at all.

    Args:
        fit: see `Calibrated`.
        groups: number of channel groups, or `"auto"`: the largest divisor of the channels up to 32 that leaves at least
            two channels to a group.

    Raises:
        ValueError: `groups` is neither.
    """

    slug: ClassVar[str] = "group-norm"
    why: ClassVar[str] = "each sample is normalised by itself, whatever the batch"
    about: ClassVar[str] = "BatchNorm"

    groups: int | str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_groups(self, self.groups)

    def matches(self, site: Site) -> bool:
        """A BatchNorm."""
        return isinstance(site.module, _BatchNorm)

    def survey(self, site: Site) -> dict[str, Any]:
        """Refuses groups that do not divide the channels."""
        check_own_forward(site.module)
        groups_for(described(site.module)[0], self.groups)
        return {}

    @torch.no_grad()
    def replacement(self, site: Site, pairs: Pairs | None) -> nn.Module:
        """The new layer with the old affine parameters, fitted where there is data."""
        old = site.module
        channels, eps, where = described(old)
        new = nn.GroupNorm(groups_for(channels, self.groups), channels, eps, **where)
        for name in ("weight", "bias"):
            source, target = getattr(old, name), getattr(new, name)
            if isinstance(source, nn.Parameter):
                target.copy_(source).requires_grad_(source.requires_grad)
        if pairs is not None:
            fit_affine(new, pairs)
        return new
