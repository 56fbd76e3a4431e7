"""LayerNorm to unified normalisation: y = γ (x − μ_token)/sqrt(σ²_token + ε) + β to y = γ' x / sqrt(σ²_c + ε) + β'.

σ²_c is the channel's mean of x² on the data, γ' and β' the least-squares fit of each channel to the old layer's output,
layer by layer in forward order. A scale and a shift of each channel cannot follow what differs from token to token, so
the network's function changes; how much, the result says.

Source: Yang et al. 2022, "Unified Normalization for Accelerating and Stabilizing Transformers", arXiv:2208.01313.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from normkit.conversion._framework.fitting import regress
from normkit.conversion._framework.norms import check_own_forward
from normkit.conversion._framework.pairs import Pairs
from normkit.conversion._framework.rule import Calibrated, Refusal, Site
from normkit.nn import LayerNorm, UnifiedNorm
from normkit.surgery import close_nested_path

__all__ = ["ToUnifiedNorm"]


@dataclass(frozen=True)
class ToUnifiedNorm(Calibrated):
    """Replace LayerNorm over one axis by `normkit.nn.UnifiedNorm`, which `Fold` then takes into the maps behind it.

    Args:
        fit: see `Calibrated`.
        window_size, warmup_iters, momentum: of the new layers, for the training that follows.
        outlier_filtration: of the new layers. On by default, as in the authors' networks for pictures: a batch that is
            no outlier is not touched by it.

    Raises:
        TypeError: `fit` is no bool.
        ValueError: an option that the layer does not take.
    """

    slug: ClassVar[str] = "unified-norm"
    why: ClassVar[str] = "a scale and a shift of each channel at inference, which fold takes into the next linear map"
    about: ClassVar[str] = "LayerNorm"

    window_size: int = 4
    warmup_iters: int = 4000
    outlier_filtration: bool = True
    momentum: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        self._new(1, 1e-5)  # the layer knows what it takes

    @property
    def remark(self) -> str:
        """What training from here means."""
        return (
            f"training goes on with the batches' statistics, not smoothed in its first {self.warmup_iters} steps; "
            "where batches are padded, pass pad_mask to the layers"
        )

    def matches(self, site: Site) -> bool:
        """A LayerNorm."""
        return isinstance(site.module, nn.LayerNorm)

    def survey(self, site: Site) -> dict[str, Any]:
        """Refuses a LayerNorm over several axes, or with a forward of its own."""
        norm = site.module
        assert isinstance(norm, nn.LayerNorm)
        if not isinstance(norm, LayerNorm):
            check_own_forward(norm)
        if len(norm.normalized_shape) != 1:
            raise Refusal(f"it normalises over {tuple(norm.normalized_shape)}: only the last axis alone is converted")
        return {}

    @torch.no_grad()
    def replacement(self, site: Site, pairs: Pairs | None) -> nn.Module:
        """The new layer with the old affine parameters, fitted where there is data."""
        old = site.module
        assert isinstance(old, nn.LayerNorm)
        close_nested_path(site.model, old)
        (channels,) = old.normalized_shape
        like = next(iter([*old.parameters(), *site.model.parameters()]), torch.zeros(()))
        new = self._new(channels, old.eps, device=like.device, dtype=like.dtype)
        for name in ("weight", "bias"):
            source = getattr(old, name)
            if isinstance(source, nn.Parameter):
                getattr(new, name).copy_(source).requires_grad_(source.requires_grad)
        if pairs is not None:
            _fit(new, pairs)
        return new

    def _new(self, channels: int, eps: float, **where: Any) -> UnifiedNorm:
        return UnifiedNorm(
            channels, self.window_size, self.warmup_iters, self.outlier_filtration, eps, self.momentum, **where
        )


def _fit(new: UnifiedNorm, pairs: Pairs) -> None:
    """σ² = E[x²]; y = a x + c by least squares, so that γ = a·sqrt(σ² + ε) and β = c."""
    by_position = ((x.flatten(0, -2), t.flatten(0, -2)) for x, t in pairs)
    found = regress(by_position, new.num_features)
    slope, intercept, _ = found.solve()
    square = found.sums[2] / found.count
    new.running_var.copy_(square)
    new.weight.copy_(slope * (square + new.eps).sqrt())
    new.bias.copy_(intercept)
