"""Masked region: how far holes in the pictures shift the statistics by which the valid pixels are normalised.

What is normalised together (a channel of one picture, of a batch, or a group of channels) has mean μ and variance σ²
over its valid pixels, and f and v_f over the hole, which takes the share p. A normaliser that takes all pixels together
uses the mean (1−p)μ + p f and the variance (1−p)σ² + p v_f + p(1−p)(μ−f)². So, in units of the deviation of the valid
pixels,

    shift = p |μ − f| / σ        ratio = sqrt( (1−p)(1 + p (μ−f)²/σ²) + p v_f/σ² )

are what the hole adds to the mean and multiplies the deviation by: both depend on the size of the hole and on what it
is filled with, and not on the picture. They are exact; up to ε they can be read off an instance norm's output as
|mean|/std and 1/std of the valid pixels. (Behind a convolution v_f is not 0 even for a constant fill: features vary
along the edge of the hole.)

**How it is measured.** On what enters each normaliser, with the batch's mask brought to its size by nearest neighbours;
by the picture's channel, by the batch's for BatchNorm, by the group for GroupNorm; where the hole takes between 0 and
all of the pixels and σ² ≥ 100 ε. Where the statistics are the batch's, the model runs in training mode, in which they
act. Where the
normaliser takes statistics by region and is given the mask (RN-B, `RegionNorm2d`), the shift is that of its own
normalised output. RN-L finds its regions itself, after holes have begun to be filled; it is not judged. The figure is
the median shift.

**Threshold.** 10 % of a standard deviation, as for the noise of a batch (`batch-noise`): beyond it more than one per
cent of the variance that the next layer sees is about the hole. The paper (Yu et al. 2020, arXiv:1911.10375, section 3)
names the shift and gives no number.

**What it needs.** Batches that hold their masks, true or 1 in the hole: a dict with `masks` or `mask`, or a pair (x,
masks) of which the second is bool (batch, 1, height, width).
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from normkit.diagnosis._framework.context import Context
from normkit.diagnosis._framework.finding import Finding, Severity, Site
from normkit.diagnosis._framework.probe import Mode, ModuleProbe, Place
from normkit.diagnosis._framework.remedy import Remedy
from normkit.functional import region_norm
from normkit.nn import RNL, RegionNorm2d

__all__ = ["MaskedRegion", "RegionShift", "region_shift"]

_WATCHED = (_BatchNorm, _InstanceNorm, nn.GroupNorm, RegionNorm2d)
_NAMES = ("masks", "mask", "holes")
_EPS = 1e-5


class RegionShift(NamedTuple):
    """Shift and ratio of what is normalised together, and where there is variance enough to say so."""

    shift: Float[Tensor, "pictures channels"]
    ratio: Float[Tensor, "pictures channels"]
    known: Bool[Tensor, "pictures channels"]


def region_shift(
    x: Float[Tensor, "batch channels height width"],
    hole: Bool[Tensor, "batch 1 height width"],
    style: str = "instance",
) -> RegionShift:
    """p|μ−f|/σ and sqrt((1−p)(1 + p(μ−f)²/σ²) + p v_f/σ²); known where there is a hole, a rest, and σ² ≥ 100 ε.

    By picture and channel, or, in the style "batch", by channel (one row).
    """
    x, axes = x.double(), (2, 3) if style == "instance" else (0, 2, 3)
    p = hole.double().mean(axes, keepdim=True).flatten(1)
    inside, outside = (_moments(x, where, axes) for where in (hole, ~hole))
    (f, hole_variance), (mean, variance) = inside, outside
    known = (p > 0) & (p < 1) & (variance >= 100 * _EPS)
    variance = torch.where(known, variance, 1.0)
    distance = (mean - f).square() / variance
    ratio = ((1 - p) * (1 + p * distance) + p * hole_variance / variance).sqrt()
    return RegionShift(p * distance.sqrt(), ratio, known)


class MaskedRegion(ModuleProbe):
    """Median over pictures and channels of p|μ−f|/σ in front of each normaliser; threshold 0.1. See the module.

    Source: Yu et al. 2020, arXiv:1911.10375, section 3.
    """

    slug = "masked-region"
    pathology = "holes shift the mean and the variance by which the valid pixels are normalised"
    unit = "shift of the mean, in standard deviations of the valid pixels"
    threshold = 0.1
    threshold_source = "derived (normkit.diagnosis.masked_region); Yu et al. 2020, section 3, for the pathology"
    remedies: ClassVar = ()

    most_kept = 4096
    """Figures kept of one place, from the first batches on: a median needs no more."""

    def begin(self, context: Context) -> str | None:
        """Keep the context: the masks are in the batches, not in what the layers are given."""
        self._context = context
        if context.monitoring:
            return "the masks are in the batches, which a monitor does not see: use diagnose"
        found = any(isinstance(module, _WATCHED) for module in context.model.modules())
        return None if found else "no layer normalises over the pixels of a picture"

    def mode(self, context: Context) -> Mode:
        """Training where a layer takes the batch's statistics in training alone, else evaluation."""
        norms = [each for each in context.model.modules() if isinstance(each, _BatchNorm)]
        return "train" if any(each.track_running_stats for each in norms) else "eval"

    def applies(self, module: nn.Module) -> bool:
        """Normalisers over pixels; not RN-L, whose regions are its own."""
        return isinstance(module, _WATCHED) and not isinstance(module, RNL)

    def watch(self, place: Place, input: Tensor, output: Tensor) -> None:
        """Add the shift of this batch."""
        mask = _mask_of(self._context.batch)
        if mask is None or input.ndim != 4 or len(mask) != len(input):
            return
        hole = _at_size(mask.to(input.device), input)
        found = _shift_at(place.module, input, hole)
        sums = place.sums
        for name, values in (("shift", found.shift), ("ratio", found.ratio)):
            kept = torch.cat([sums.get(name, torch.empty(0)), values[found.known].float().cpu()])
            sums[name] = kept[: self.most_kept]
        sums["area"] = [*sums.get("area", ()), float(hole.float().mean())]

    def run(self, context: Context) -> Finding | str:
        """All normalisers over pixels."""
        if _mask_of(context.example) is None:
            return (
                "the batches hold no masks: give dicts with `masks` (batch, 1, height, width), true in the hole, and "
                "forward=lambda model, batch: … where the model does not take them by name"
            )
        sites = [site for place in self.places.values() if (site := self.finding(place))]
        if not sites:
            return "no picture has both a hole and a rest with variance enough"
        advice = _advice(sites) if any(site.severity == "act" for site in sites) else ()
        return self.conclude(sites, summary=self.summary(sites), remedies=advice)

    def finding(self, place: Place) -> Site | None:
        """The median shift and ratio in front of one normaliser."""
        shift = place.sums.get("shift")
        if shift is None or not len(shift):
            return None
        figure = float(shift.median())
        severity: Severity = "act" if figure > self.threshold else "ok"
        area = place.sums["area"]
        detail = {
            "ratio": float(place.sums["ratio"].median()),
            "largest": float(shift.max()),
            "area": sum(area) / len(area),
        }
        return Site(place.name, figure, severity, detail)

    def summary(self, sites: list[Site]) -> str:
        """One sentence."""
        bad = [site for site in sites if site.severity == "act"]
        if not bad:
            return f"holes do not move the statistics of the valid pixels at any of {len(sites)} normalisers"
        top = max(bad, key=lambda site: site.figure)
        return (
            f"holes shift the mean of the valid pixels at {len(bad)} of {len(sites)} normalisers; worst at {top.path}: "
            f"{top.figure:.2f} standard deviations, which become {top.detail['ratio']:.2f} times as large"
        )


def _moments(x: Tensor, where: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Mean and population variance over `axes` of the pixels chosen, (pictures, channels)."""
    size = where.sum(axes, keepdim=True).clamp_min(1)
    mean = torch.where(where, x, 0.0).sum(axes, keepdim=True) / size
    variance = torch.where(where, x - mean, 0.0).square().sum(axes, keepdim=True) / size
    return mean.flatten(1), variance.flatten(1)


def _shift_at(norm: nn.Module, x: Tensor, hole: Tensor) -> RegionShift:
    """The shift of what this normaliser takes together."""
    if isinstance(norm, nn.GroupNorm):
        batch, channels, height, width = x.shape
        each = channels // norm.num_groups
        return region_shift(x.reshape(batch, norm.num_groups, each * height, width), hole.repeat(1, 1, each, 1))
    if isinstance(norm, RegionNorm2d):
        return _of_region_norm(norm, x, hole)
    return region_shift(x, hole, "batch" if isinstance(norm, _BatchNorm) else "instance")


def _of_region_norm(module: RegionNorm2d, x: Tensor, hole: Tensor) -> RegionShift:
    """What is left behind a normaliser by region: mean and deviation of the valid pixels of its own output."""
    found = region_shift(x, hole, module.style)
    normal = region_norm(x.double(), hole, 2, style=module.style, eps=module.eps, eps_mode=module.eps_mode)
    mean, variance = _moments(normal, ~hole, (2, 3) if module.style == "instance" else (0, 2, 3))
    deviation = variance.clamp_min(torch.finfo(variance.dtype).tiny).sqrt()
    return RegionShift(mean.abs() / deviation, 1 / deviation, found.known)


def _mask_of(batch: Any) -> Tensor | None:
    """The mask in a batch, as bool (batch, 1, height, width); None where there is none."""
    mask = None
    if isinstance(batch, Mapping):
        mask = next((batch[name] for name in _NAMES if name in batch), None)
    elif isinstance(batch, Sequence) and len(batch) == 2:
        mask = batch[1] if isinstance(batch[1], Tensor) and batch[1].dtype == torch.bool else None
    if not isinstance(mask, Tensor):
        return None
    mask = mask.unsqueeze(1) if mask.ndim == 3 and isinstance(batch, Mapping) else mask
    return mask != 0 if mask.ndim == 4 and mask.shape[1] == 1 else None


def _at_size(mask: Tensor, x: Tensor) -> Tensor:
    if mask.shape[2:] == x.shape[2:]:
        return mask
    return nn.functional.interpolate(mask.float(), x.shape[2:], mode="nearest") != 0


def _advice(sites: list[Site]) -> tuple[Remedy, ...]:
    """The early layers are those that see the holes: RN-B there, RN-L behind."""
    path = next(site.path for site in sites if site.severity == "act")
    line = f"normkit.nn.RNB(channels)(x, mask)  # in place of {path}; where holes are filled already: normkit.nn.RNL"
    return (Remedy(("region-norm",), "advice", line),)
