"""Batch noise: how much a layer's output depends on which other samples happen to be in the batch.

A layer with batch statistics returns u = (x − μ_B)/σ_B where the data's own statistics would give y = (x − μ)/σ. With
x = μ_B + σ_B·u, averaged over the batch,

    E (u − y)² = ((μ_B − μ)/σ)² + (1 − σ_B/σ)² = z² + s²

exactly, and y has unit variance; so √E(z² + s²), over batches and channels, is the noise that the batch injects in
units of the signal's standard deviation. To first order s² = ¼ (log σ_B² − log σ²)², the paper's second quantity, but
s² stays finite where a batch has no variance at all. (With ε: σ_B and σ are √(σ² + ε), and the result is divided by the
variance that the signal then has.)

**How it is measured.** In training mode, since that is where batch statistics act; μ and σ² are the pooled statistics
of the batches seen, with the K/(K − 1) of K batches. For independent samples the expectation at the effective sample
size is known from the spread of the *single samples'* means m_i and mean squares w_i:

    E z² = Var(m_i)/(B σ²) = 1/n_eff,   E s² ≈ Var(w_i)/(4 B σ⁴)

It is reported beside the measurement (`expected`), and stands in for it where there is one batch only. A measurement of
more than twice the expectation says that the batches are not alike: sorted data, or several domains.

**Threshold.** Noise of 10 % of the signal's standard deviation: one per cent of the variance that the next layer sees
is then not about the sample. For independent Gaussian values E z² + E s² = 1/n + 1/(2n), so the threshold stands at
n_eff = 150 values a channel: the batches of 32 and more images on which batch normalisation was designed (Ioffe &
Szegedy 2015) pass, and the one or two images of Qiao et al. (2020, arXiv:1903.10520, section 4) fail by far.

**Other layers.** An estimate-based layer (batch-channel normalisation, Qiao et al. section 4.2) normalises by an
average over batches with speed r: a stationary average of that kind has r/(2 − r) of one batch's variance. Its figure
is √(r/(2 − r) · (E z² + Var(w_B)/(4σ⁴))), with w_B the batch's mean square: the noise of the estimate, measured at the
same place (Var(w_B) from the samples). Even where single images differ as much as they can (E z² = 1), r ≤ 0.013 keeps
it below 10 % at batch 1. What the estimate lags behind weights that move fast is not in it. PowerNorm (Shen et al.
2020, arXiv:2003.07845) is such a layer after its warm-up, with r = 1 − α, no mean, and the quadratic mean of its
layer-scaled input in place of the variance; before, and in its variant PN-V, it normalises by the batch. UnifiedNorm
(Yang et al. 2022, arXiv:2208.01313) averages the logarithms of M batches, which has 1/M of one batch's variance,
r = 2/(M + 1). A layer without batch statistics has the figure 0 by construction; it is listed so that before and after
stand at the same places.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from normkit.diagnosis._framework.context import Context
from normkit.diagnosis._framework.finding import Finding, Severity, Site
from normkit.diagnosis._framework.layers import is_norm
from normkit.diagnosis._framework.probe import Mode, ModuleProbe, Place
from normkit.kernels.reference.power_norm import layer_scale
from normkit.nn import BatchChannelNorm2d, EstBatchNorm2d, EvoNorm2dB0, EvoNorm2dB1, EvoNorm2dB2, PowerNorm, UnifiedNorm

__all__ = ["BatchNoise"]

_UNCENTRED = (EvoNorm2dB0, EvoNorm2dB1, EvoNorm2dB2, PowerNorm, UnifiedNorm)
_WATCHED = (_BatchNorm, EstBatchNorm2d, BatchChannelNorm2d, *_UNCENTRED)
_FLAT = 1e-10  # a variance below this share of the mean's square is rounding in float32, not signal

Channels = Float[Tensor, " channels"]


class BatchNoise(ModuleProbe):
    """√E[((μ_B − μ)/σ)² + (1 − σ_B/σ)²] per layer, in training mode; threshold 10 %. See the module's docstring.

    Source: Qiao et al. 2020, arXiv:1903.10520, section 4; Ioffe & Szegedy 2015, arXiv:1502.03167.
    """

    slug = "batch-noise"
    pathology = "the output for one sample depends on which others are in its batch"
    unit = "standard deviations of the signal"
    threshold = 0.1
    threshold_source = (
        "derived (normkit.diagnosis.batch_noise): 10 % of the signal's standard deviation, "
        "150 independent values a channel; Qiao et al. 2020, section 4, for the pathology"
    )
    remedies: ClassVar = (
        ("weight-standardization", "batch-channel-norm"),
        ("batch-channel-norm",),
        ("evonorm-s0",),
        ("weight-standardization", "group-norm"),
        ("group-norm",),
        ("powernorm",),
    )

    def mode(self, context: Context) -> Mode:
        """Training mode: there batch statistics act."""
        return "train"

    def begin(self, context: Context) -> str | None:
        """Find the normalisers; those inside another normaliser are part of it."""
        modules = list(context.model.modules())
        composites = [module for module in modules if isinstance(module, BatchChannelNorm2d)]
        inner = {part for composite in composites for part in composite.modules() if part is not composite}
        self._layers = [m for m in modules if is_norm(m) and m not in inner]
        self._still = {m for m in self._layers if _is_still(m, context.model)}
        self._paths = context.paths
        return None if self._layers else "the model has no normalisation layer"

    def applies(self, module: nn.Module) -> bool:
        """Layers with batch statistics or with estimates from batches."""
        return module in self._layers and module not in self._still

    def watch(self, place: Place, input: Tensor, output: Tensor) -> None:
        """Add one batch: moments of every sample and of the batch, per channel."""
        if input.shape[0] and input.ndim >= 2:
            about_zero = isinstance(place.module, (PowerNorm, UnifiedNorm))
            x = _scaled(place.module, input) if isinstance(place.module, (PowerNorm, UnifiedNorm)) else input
            place.sums.setdefault("noise", _Noise(_inner(place.module).eps, about_zero)).add(x)
            place.sums["batch"] = input.shape[0]

    def end_segment(self) -> None:
        """The batches since the last call are one sample of the same network."""
        for place in self.places.values():
            if "noise" in place.sums:
                place.sums["noise"].fold()

    def run(self, context: Context) -> Finding | str:
        """Sites in the model's order, those that are free of the batch by construction too."""
        measured: dict[nn.Module, list[Site]] = {}
        for place in self.places.values():
            if site := self.finding(place):
                measured.setdefault(place.module, []).append(site)
        sites = [site for layer in self._layers for site in measured.get(layer, self._silent(layer))]
        if not sites:
            return "no layer with batch statistics was run more than once a channel: pass more batches (max_batches=)"
        detail = {}
        if context.untrainable:
            detail["note"] = f"measured in evaluation mode: in training mode the model raises {context.untrainable!r}"
        return self.conclude(sites, summary=self.summary(sites), detail=detail)

    def finding(self, place: Place) -> Site | None:
        """The noise at one layer."""
        noise: _Noise = place.sums["noise"]
        speed = _speed(place.module, place.sums["batch"])
        centred = not isinstance(place.module, _UNCENTRED)
        measured = noise.result(centred=centred, averaged=speed is not None)
        if measured is None:
            return None
        share = 1.0 if speed is None else speed / (2 - speed)
        figure = math.sqrt(share * measured["total"])
        detail = {
            "kind": "batch" if speed is None else "estimate",
            "mean_noise": math.sqrt(share * measured["mean"]),
            "scale_noise": math.sqrt(share * measured["scale"]),
            "expected": math.sqrt(share * measured["expected"]) if measured["expected"] is not None else None,
            "effective_size": 1 / measured["mean"] if measured["mean"] > 0 else None,
            "batch_size": place.sums["batch"],
        }
        severity: Severity = "act" if figure > self.threshold else "ok"
        return Site(place.name, figure, severity, detail)

    def summary(self, sites: list[Site]) -> str:
        """One sentence."""
        bad = [site for site in sites if site.severity == "act"]
        kinds = {site.detail["kind"] for site in sites}
        if not bad:
            if kinds <= {"free", "frozen"}:
                return "no layer uses the batch's statistics: the figure is 0 by construction"
            return "the layers' statistics hardly depend on which samples share a batch"
        top = max(bad, key=lambda site: site.figure)
        size = top.detail.get("batch_size")
        text = (
            f"{len(bad)} of {len(sites)} layers: which samples share a batch of {size} moves the output by up to "
            f"{top.figure:.0%} of the signal's standard deviation (worst at {top.path})"
        )
        expected = top.detail.get("expected")
        if expected and top.figure > 2 * expected and (size or 0) > 1:
            text += (
                f"; independent samples would give {expected:.0%}: the batches are not alike, shuffle the data first"
            )
        return text

    def _silent(self, layer: nn.Module) -> list[Site]:
        if layer not in self._still:
            return []  # was not run on these data
        kind = "frozen" if isinstance(layer, _WATCHED) else "free"
        return [Site(self._paths[layer], 0.0, "ok", {"kind": kind, "by_construction": True})]


def _is_still(layer: nn.Module, model: nn.Module) -> bool:
    """Whether nothing of the batch enters the layer in training: batch-free by design, or frozen by its owner."""
    if isinstance(layer, _InstanceNorm):
        return not layer.track_running_stats
    tracked = any(getattr(layer, name, None) is not None for name in ("running_var", "running_phi"))
    frozen = model.training and not layer.training and tracked
    return frozen or not isinstance(layer, _WATCHED)


def _inner(layer: nn.Module) -> Any:
    """The part of the layer that takes statistics over the batch."""
    return layer.bn if isinstance(layer, BatchChannelNorm2d) else layer


def _speed(layer: nn.Module, batch: int) -> float | None:
    """R of an estimate-based layer at this batch size; None for a layer that normalises by the batch itself."""
    part = _inner(layer)
    if isinstance(part, PowerNorm):
        warm = part.variant == "pn-v" or int(part.iters) < part.warmup_iters
        return None if warm else 1 - part.alpha_fwd
    if isinstance(part, UnifiedNorm):
        window = part.window_size[0]
        return None if int(part.iters) < max(window, part.warmup_iters) else 2 / (window + 1)
    if not isinstance(part, EstBatchNorm2d):
        return None
    return min(0.1, 0.02 * batch) if part.speed is None else part.speed


def _scaled(layer: PowerNorm | UnifiedNorm, input: Tensor) -> Tensor:
    """What a PowerNorm or UnifiedNorm takes its quadratic mean of, as (N, C, …)."""
    if isinstance(layer, UnifiedNorm):
        return input.movedim(-1, 1)
    x = input.movedim(layer.channel_dim, -1)
    u = layer_scale(x.float() if x.dtype.itemsize < 4 else x, layer.group_num, layer.eps)
    return u.movedim(-1, 1)


@dataclass
class _Folded:
    """Per-channel figures of one segment."""

    mean: Channels
    scale: Channels
    expected_mean: Channels | None
    expected_scale: Channels | None


class _Noise:
    """Sums over batches and samples, per channel, in float64 and relative to the first batch's mean.

    `about_zero`: the quadratic mean stands for the variance, and there is no mean.
    """

    def __init__(self, eps: float, about_zero: bool = False) -> None:
        self.eps = eps
        self.about_zero = about_zero
        self.shift: Channels | None = None
        self.folded: list[_Folded] = []
        self._clear()

    def _clear(self) -> None:
        self.samples = self.batches = 0
        self.by_sample: Tensor | None = None  # rows: Σm, Σm², Σw, Σw² over samples
        self.by_batch: Tensor | None = None  # rows: Σμ, Σμ², Σσ², Σg², Σgσ over batches

    def add(self, x: Tensor) -> None:
        """One batch (N, C, …): mean and mean square of every sample and channel, about the first batch's mean.

        Plain sums of the shifted input are as safe as `torch.var_mean` here, and ten times as fast on small maps.
        """
        flat = x.flatten(2) if x.ndim > 2 else x.unsqueeze(2)
        flat = flat.float() if flat.dtype.itemsize < 4 else flat
        if self.shift is None:
            self.shift = torch.zeros_like(flat[0, :, 0]) if self.about_zero else flat.mean((0, 2))
        deviation = flat - self.shift.unsqueeze(1)
        m = deviation.mean(2).double()
        m = torch.zeros_like(m) if self.about_zero else m
        w = deviation.square_().mean(2).double()
        mu = m.mean(0)
        sigma2 = (w.mean(0) - mu.square()).clamp_min(0)
        g = (sigma2 / (sigma2 + self.eps)).sqrt()
        by_sample = torch.stack([m.sum(0), m.square().sum(0), w.sum(0), w.square().sum(0)])
        by_batch = torch.stack([mu, mu.square(), sigma2, g.square(), g * sigma2.sqrt()])
        self.by_sample = by_sample if self.by_sample is None else self.by_sample + by_sample
        self.by_batch = by_batch if self.by_batch is None else self.by_batch + by_batch
        self.samples += len(x)
        self.batches += 1

    def fold(self) -> None:
        """End a segment: turn its sums into figures per channel, and start anew."""
        if self.by_batch is not None and self.by_sample is not None:
            folded = self._figures(self.by_batch / self.batches, self.by_sample / self.samples)
            if folded is not None:
                self.folded.append(folded)
        self._clear()

    def _figures(self, by_batch: Tensor, by_sample: Tensor) -> _Folded | None:
        mu, mu2, within, g2, g_sigma = by_batch
        m, m2, w, w2 = by_sample
        batches, samples, size = self.batches, self.samples, self.samples / self.batches
        unbiased = samples / (samples - 1) if samples > 1 else 0.0
        between_samples = (m2 - m.square()).clamp_min(0) * unbiased
        spread_of_squares = (w2 - w.square()).clamp_min(0) * unbiased
        between = (mu2 - mu.square()).clamp_min(0) * batches / (batches - 1) if batches > 1 else between_samples / size
        variance = within + between
        assert self.shift is not None
        alive = variance > _FLAT * (self.shift.double() + mu).square() + torch.finfo(torch.float32).tiny
        if not bool(alive.any()) or (batches == 1 and samples == 1):
            return None
        signal = variance / (variance + self.eps)
        root = (variance + self.eps).sqrt()
        expected_mean = expected_scale = None
        if samples > 1:
            expected_mean = (between_samples / size / variance)[alive]
            expected_scale = (spread_of_squares / (4 * size * variance.square()))[alive]
        if batches > 1:
            scale = ((g2 - 2 * g_sigma / root + within / root.square()).clamp_min(0) / signal)[alive]
        else:
            assert expected_scale is not None
            scale = expected_scale
        return _Folded((between / variance)[alive], scale, expected_mean, expected_scale)

    def result(self, *, centred: bool = True, averaged: bool = False) -> dict[str, Any] | None:
        """Means over channels and segments: E z², E s², their sum, and the sum expected of independent samples.

        `centred` False leaves out z² (the layer subtracts no mean); `averaged` takes Var(w_B)/(4σ⁴) for s², which is
        what enters an average over batches.
        """
        if not self.folded:
            return None
        mean = _average([each.mean for each in self.folded]) if centred else 0.0
        scale = _average([each.scale for each in self.folded])
        expected = None
        shifts = [each.expected_mean for each in self.folded if each.expected_mean is not None]
        scales = [each.expected_scale for each in self.folded if each.expected_scale is not None]
        if scales:
            expected = _average(scales) + (_average(shifts) if centred else 0.0)
        if averaged and scales:
            scale = _average(scales)
        return {"mean": mean, "scale": scale, "total": mean + scale, "expected": expected}


def _average(channels: list[Channels]) -> float:
    return float(torch.cat(channels).mean())
