"""BatchNorm and GroupNorm to batch-channel normalisation, BCN(x) = w_g · GN(BN(x)) + b_g.

The BN part takes over the old layer's running statistics and affine parameters. A GroupNorm has no statistics: they are
measured, and the affine parameters are those that bring the BN part nearest to its output. The channel part's w_g, b_g
are then fitted by least squares to the old layer's output.

Source: Qiao et al. 2020, arXiv:1903.10520, section 4.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from normkit.conversion._framework.fitting import fit_affine, fit_groups, set_statistics
from normkit.conversion._framework.norms import check_groups, check_own_forward, described
from normkit.conversion._framework.pairs import Pairs
from normkit.conversion._framework.rule import Calibrated, Refusal, Site
from normkit.nn import BatchChannelNorm2d

__all__ = ["ToBatchChannelNorm"]


@dataclass(frozen=True)
class ToBatchChannelNorm(Calibrated):
    """Replace BatchNorm2d and GroupNorm by `normkit.nn.BatchChannelNorm2d`, whose training does not need a large batch.

    Args:
        fit: see `Calibrated`.
        groups: number of channel groups, or `"auto"`: the largest divisor of the channels up to 32 that leaves at least
            two channels to a group.
        style: `"estimate"` (slowly moving estimates, for less than 8 images a device) or `"batch"`.
        speed: of the estimates; None follows the batch size.

    Raises:
        ValueError: `groups` is neither, `style` is unknown, or `speed` outside [0, 1].
    """

    slug: ClassVar[str] = "batch-channel-norm"
    why: ClassVar[str] = "its statistics do not need a large batch, and no channel drifts away from the others"
    about: ClassVar[str] = "BatchNorm or GroupNorm"

    groups: int | str = "auto"
    style: str = "estimate"
    speed: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_groups(self, self.groups)
        BatchChannelNorm2d(1, 1, style=self.style, speed=self.speed)  # the layer knows what it takes

    def matches(self, site: Site) -> bool:
        """A BatchNorm, or a GroupNorm."""
        return isinstance(site.module, (nn.modules.batchnorm._BatchNorm, nn.GroupNorm))

    def survey(self, site: Site) -> dict[str, Any]:
        """The norm's channels and the group count; refuses other shapes than (B, C, H, W)."""
        check_own_forward(site.module)
        if not isinstance(site.module, (nn.BatchNorm2d, nn.GroupNorm)):
            raise Refusal(f"a {type(site.module).__name__}: batch-channel normalisation is made for (B, C, H, W)")
        try:
            self._new(site.module)
        except ValueError as error:
            raise Refusal(str(error)) from None
        return {}

    @torch.no_grad()
    def replacement(self, site: Site, pairs: Pairs | None) -> nn.Module:
        """The new layer, its BN part the old one."""
        old, new = site.module, self._new(site.module)
        bn = new.bn
        for name in ("weight", "bias"):
            source, target = getattr(old, name), getattr(bn, name)
            assert isinstance(target, nn.Parameter)
            if isinstance(source, nn.Parameter):
                target.copy_(source).requires_grad_(source.requires_grad)
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            source, target = getattr(old, name, None), getattr(bn, name)
            if isinstance(source, Tensor):
                target.copy_(source)
        if pairs is not None:
            if getattr(old, "running_var", None) is None:
                set_statistics(bn, pairs)
                fit_affine(bn, pairs)
            fit_groups(new, pairs)
        return new

    def _new(self, old: nn.Module) -> BatchChannelNorm2d:
        channels, eps, where = described(old)
        momentum = getattr(old, "momentum", None)
        return BatchChannelNorm2d(
            channels,
            self.groups,
            eps,
            self.style,
            self.speed,
            0.1 if momentum is None else momentum,
            **where,
        )
