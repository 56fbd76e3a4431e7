"""Weight standardisation of convolutions in front of a norm: Ŵ = (W − mean)/σ for each filter.

The filter's scale, and the mean that it loses, are made up for in the norm behind it, whose statistics and affine
parameters are fitted by least squares to what it gave before.

Source: Qiao et al. 2020, arXiv:1903.10520, section 3.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.utils import parametrize

from normkit import nn as layers
from normkit.conversion._framework.fitting import refit
from normkit.conversion._framework.pairs import Pairs
from normkit.conversion._framework.rule import Calibrated, Refusal, Site
from normkit.functional import weight_standardize
from normkit.nn import BatchChannelNorm2d
from normkit.surgery import submodule, ties
from normkit.weights import weight_standardization

__all__ = ["ToWeightStandardization"]

_EVONORMS = tuple(getattr(layers, name) for name in layers.__all__ if name.startswith("EvoNorm2d"))
_UNSOLVED = (nn.LayerNorm, *_EVONORMS)
_NORMS = (_BatchNorm, _InstanceNorm, nn.GroupNorm, BatchChannelNorm2d, *_UNSOLVED)


@dataclass(frozen=True)
class ToWeightStandardization(Calibrated):
    """Standardise the weights of every convolution that feeds a normaliser.

    Args:
        fit: fit the norm behind each convolution so that it gives what it gave before (see `Calibrated`).
        variant: how σ is formed, see `normkit.weights.weight_standardization`.

    Raises:
        ValueError: `variant` is unknown.
    """

    slug: ClassVar[str] = "weight-standardization"
    why: ClassVar[str] = "each filter has mean 0 and variance 1, which smooths the loss without a batch"
    about: ClassVar[str] = "convolution"

    variant: str = "official"

    def __post_init__(self) -> None:
        super().__post_init__()
        weight_standardize(torch.ones(1, 2), self.variant)  # the function knows its variants

    def matches(self, site: Site) -> bool:
        """A convolution."""
        return isinstance(site.module, (nn.Conv1d, nn.Conv2d, nn.Conv3d))

    def survey(self, site: Site) -> dict[str, Any]:
        """The norm that reads it; refuses where there is none."""
        conv = site.module
        assert isinstance(conv, (nn.Conv1d, nn.Conv2d, nn.Conv3d))
        if parametrize.is_parametrized(conv):
            raise Refusal("its weight is parametrised already")
        if hasattr(conv, "standardized_weight"):
            raise Refusal(f"a {type(conv).__name__} standardises its weight already")
        if conv.weight[0].numel() == 1:
            raise Refusal("its filters have a single weight each, which standardisation would set to 0")
        if any(name.rpartition(".")[0] == site.path for names in ties(site.model) for name in names):
            raise Refusal("its weight is tied to another")
        readers = site.followers()
        assert site.flow is not None
        if len(readers) != 1 or readers[0].kind != "module":
            raise Refusal("its output is not read by one normaliser alone, so nothing would take up its scale")
        norm = readers[0].path
        if self.fit and isinstance(submodule(site.model, norm), _UNSOLVED):
            raise Refusal(f"{norm} behind it cannot be solved for; with fit=False it is left to training")
        if not isinstance(submodule(site.model, norm), _NORMS):
            raise Refusal(f"{norm} behind it is no normaliser, so nothing would take up its scale")
        if len(site.flow.producers(norm)) != 1 or len(site.flow.calls(norm)) != 1:
            raise Refusal(f"{norm} behind it normalises other outputs too, which would not change with it")
        return {"norm": norm}

    def replacement(self, site: Site, pairs: Pairs | None) -> nn.Module:
        """The same convolution, parametrised; the norm behind it, refitted."""
        path = str(site.details["norm"])
        kind = type(site.module).__name__  # the parametrisation gives it another class
        weight_standardization(site.module, variant=self.variant)
        site.note(site.path, kind, "with standardised weight", self.why)
        if self.fit:
            norm = submodule(site.model, path)
            site.note(path, norm, f"{type(norm).__name__}, refitted", "it takes up the scale of the filters before it")
            if pairs is not None:
                self._refit(site.module, norm, pairs.at(path))
        return site.module

    def _refit(self, conv: nn.Module, norm: nn.Module, pairs: Pairs) -> None:
        try:
            refit(norm, pairs)
        except Refusal:
            parametrize.remove_parametrizations(conv, "weight", leave_parametrized=False)
            raise
