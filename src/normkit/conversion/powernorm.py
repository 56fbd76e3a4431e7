"""LayerNorm to PowerNorm, y = γ u / sqrt(φ + ε) + β with u the input, scaled at each position over groups of channels.

φ is the mean of u² per channel on the data; γ and β are then fitted, by least squares, to what the old layer gave. With
one group u = x / sqrt(mean(x²) + ε) is a LayerNorm without its mean: where positions have none, the fit is exact.

Source: Shen et al. 2020, "PowerNorm: Rethinking Batch Normalization in Transformers", arXiv:2003.07845, section 4.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from normkit.conversion._framework.fitting import fit_affine
from normkit.conversion._framework.norms import check_own_forward, described
from normkit.conversion._framework.pairs import Pairs
from normkit.conversion._framework.rule import Calibrated, Refusal, Site
from normkit.kernels.reference.power_norm import layer_scale
from normkit.nn import LayerNorm, PowerNorm
from normkit.surgery import close_nested_path

__all__ = ["ToPowerNorm"]


@dataclass(frozen=True)
class ToPowerNorm(Calibrated):
    """Replace the LayerNorms of a network, and the BatchNorm1d of a transformer, by `normkit.nn.PowerNorm`.

    Pre-LN and Post-LN alike. The authors replace an encoder's norms and leave LayerNorm in the decoder: name the former
    by `select=` ("encoder.*"). A fitted layer goes on by its running statistic at once, without warm-up.

    Args:
        fit: see `Calibrated`.
        group_num: groups of channels of layer scale; 1 is nearest to LayerNorm, the authors take the number of heads.
            0 leaves it out, which can then be folded (`"fold"`), and is unsafe to train.
        warmup_iters: of the layer, where it is not fitted.
        alpha_fwd, alpha_bwd: of the layer.
        variant: "pn" or "pn-v".

    Raises:
        ValueError: as `PowerNorm` says of its options.
    """

    slug: ClassVar[str] = "powernorm"
    why: ClassVar[str] = "its running quadratic mean does not fluctuate with the batch"
    about: ClassVar[str] = "LayerNorm or BatchNorm1d"

    group_num: int = 1
    warmup_iters: int = 4000
    alpha_fwd: float = 0.9
    alpha_bwd: float = 0.9
    variant: str = "pn"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.group_num < 0:
            raise ValueError(f"ToPowerNorm: group_num must be at least 0, got {self.group_num}")
        self._layer(max(self.group_num, 1), 1e-5, {})  # the layer knows what it takes

    @property
    def remark(self) -> str:
        """What training from here is."""
        return (
            "training from here takes statistics over the batch: padded positions count unless the layer is given "
            "pad_mask=, and in a causal model training losses are not comparable with LayerNorm's"
        )

    def matches(self, site: Site) -> bool:
        """A LayerNorm, or a BatchNorm1d."""
        return isinstance(site.module, (nn.LayerNorm, nn.BatchNorm1d))

    def survey(self, site: Site) -> dict[str, Any]:
        """Refuses several normalized axes, a BatchNorm1d outside of transformers, and groups that do not divide."""
        norm = site.module
        if type(norm) is not LayerNorm:
            check_own_forward(norm)
        if isinstance(norm, nn.LayerNorm) and len(norm.normalized_shape) != 1:
            raise Refusal(f"it normalizes {len(norm.normalized_shape)} axes, PowerNorm the channels of one")
        if isinstance(norm, nn.BatchNorm1d) and not _attends(site.model):
            raise Refusal("a BatchNorm1d of a network without attention: PowerNorm is made for transformers")
        try:
            self._new(site)
        except ValueError as error:
            raise Refusal(str(error)) from None
        return {}

    @torch.no_grad()
    def replacement(self, site: Site, pairs: Pairs | None) -> nn.Module:
        """The new layer with the old affine parameters, fitted where there is data."""
        old, new = site.module, self._new(site)
        close_nested_path(site.model, old)
        for name in ("weight", "bias"):
            source, target = getattr(old, name), getattr(new, name)
            if isinstance(source, nn.Parameter):
                target.copy_(source).requires_grad_(source.requires_grad)
        if pairs is not None:
            _set_running_phi(new, pairs)
            fit_affine(new, _rows(new, pairs))
        return new

    def _new(self, site: Site) -> PowerNorm:
        old = site.module
        if isinstance(old, nn.LayerNorm):
            (channels,) = old.normalized_shape
            like = next(iter([*old.parameters(), *site.model.parameters()]), torch.zeros(()))
            return self._layer(channels, old.eps, {"device": like.device, "dtype": like.dtype})
        channels, eps, where = described(old)
        return self._layer(channels, eps, {"channel_dim": 1, **where})

    def _layer(self, channels: int, eps: float, options: dict[str, Any]) -> PowerNorm:
        chosen = (self.alpha_fwd, self.alpha_bwd, self.warmup_iters, self.group_num, self.variant)
        return PowerNorm(channels, eps, *chosen, **options)


def _set_running_phi(new: PowerNorm, pairs: Pairs) -> None:
    """φ = mean of u² over the data, and the end of the warm-up."""
    total, count = torch.zeros(new.num_features, dtype=torch.float64), 0
    for x, _ in _rows(new, pairs):
        total += layer_scale(x.double(), new.group_num, new.eps).square().sum(0).cpu()
        count += len(x)
    if not count:
        raise Refusal("it was not reached on the data, so there is nothing to fit it to")
    new.running_phi.copy_(total / count)
    new.iters.fill_(new.warmup_iters)


def _rows(
    new: PowerNorm, pairs: Pairs
) -> Iterator[tuple[Float[Tensor, "positions channels"], Float[Tensor, "positions channels"]]]:
    """The pairs with all positions in a row."""
    for pair in pairs:
        x, target = (each.movedim(new.channel_dim, -1).flatten(0, -2) for each in pair)
        yield x, target


def _attends(model: nn.Module) -> bool:
    return any("attention" in type(module).__name__.lower() for module in model.modules())
