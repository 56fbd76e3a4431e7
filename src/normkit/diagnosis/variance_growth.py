"""Variance growth: a residual stream that grows beyond what normalised branches would write to it.

Per block l of a transformer, over the tokens seen: `variance` = mean over tokens of the population variance over
channels, `absmax` = max |x|, `massive` = entries with |x| > 100 and > 1000 × the median |x| of the block's output,
`fp16_headroom` = 65504/absmax, and the gradient norm of the block's last matrix.

**Figure and threshold.** If every sub-layer's output were normalised (γ = 1), outputs of different sub-layers being
nearly uncorrelated, the stream would have Var(x_l) = Var(x_0) + l after l sub-layers: the law of Peri-LN (Kim et al.
2025, arXiv:2502.02732, section 3). The figure is the measured variance over that law's. Above 10 a branch that reads
vectors of unit variance has written, on average, more than ten times that variance: it amplifies by an order of
magnitude, and so does the gradient that passes it (Pre-LN: ‖∂L/∂W‖ grows with ‖h‖). In this project's sweep over
learning rates (6 layers, width 48) Peri-LN and well trained Pre-LN stay below 4, and diverging Pre-LN starts at 49.
`act` also where there are massive activations (definition: Sun et al. 2024, arXiv:2402.17762, section 2, as the
Peri-LN paper takes it over). `watch` where fp16 has less than a factor 10 left above the largest entry.

The variance over depth is fitted by a line and by an exponential (least squares, on the variance and on its logarithm);
which fits better, and the growth per block, are reported, as is the coefficient of variation of the gradient norms over
depth. Variances are computed in float32: half squares overflow at 256.

**Where.** Blocks are rows of modules of one class with a LayerNorm-like normaliser and a linear map whose input and
output have the same shape (…, d). A block with attention counts as two sub-layers, one without as one.
"""

import math
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from normkit.diagnosis._framework.context import Context
from normkit.diagnosis._framework.finding import Finding, Severity, Site
from normkit.diagnosis._framework.layers import attends, blocks
from normkit.diagnosis._framework.probe import ModuleProbe, Place

__all__ = ["VarianceGrowth"]

FP16_MAX = 65504.0


class VarianceGrowth(ModuleProbe):
    """Var(x_l)/(Var(x_0) + l) per block, massive activations, gradient spread; threshold 10: see the module.

    Source: Kim et al. 2025 (Peri-LN), arXiv:2502.02732, sections 3 and 4.
    """

    slug = "variance-growth"
    pathology = "the residual stream grows with depth, and with it activations and gradients"
    unit = "times the variance that normalised branches would give"
    threshold = 10.0
    threshold_source = "derived from Kim et al. 2025 (Peri-LN), section 3: Var(x_l) = Var(x_0) + l, times ten"
    remedies: ClassVar = (("peri-ln",),)
    wants_gradient = True

    massive_absolute = 100.0
    massive_relative = 1000.0
    headroom = 10.0

    def begin(self, context: Context) -> str | None:
        """Find the rows of blocks."""
        self._rows = list(blocks(context.model))
        self._paths = context.paths
        self._outputs = {
            block: weight for row in self._rows for block in row if (weight := _last_matrix(block)) is not None
        }
        self._gradients: dict[nn.Module, float] = {}
        return None if self._rows else "the model has no row of blocks with a residual stream (transformer layers)"

    def applies(self, module: nn.Module) -> bool:
        """Blocks of a row."""
        return any(module in row for row in self._rows)

    def watch(self, place: Place, input: Tensor, output: Tensor) -> None:
        """Add the moments and extremes of what a block takes and gives."""
        if input.shape != output.shape or not 2 <= input.ndim <= 3 or not output.numel():
            return
        sums = place.sums
        x, y = input.float(), output.float()
        tokens = y.numel() // y.shape[-1]
        sums["tokens"] = sums.get("tokens", 0) + tokens
        sums["in"] = sums.get("in", 0.0) + float(x.var(-1, correction=0).double().sum())
        sums["out"] = sums.get("out", 0.0) + float(y.var(-1, correction=0).double().sum())
        absmax = float(y.abs().max())
        sums["absmax"] = max(sums.get("absmax", 0.0), absmax)
        if absmax > self.massive_absolute:
            floor = max(self.massive_absolute, self.massive_relative * float(y.abs().median()))
            sums["massive"] = sums.get("massive", 0) + int((y.abs() > floor).sum())

    def gradients(self, loss: Tensor) -> None:
        """Add the squared gradient norms of each block's last matrix; `.grad` is not touched."""
        wanted = {block: weight for block, weight in self._outputs.items() if weight.requires_grad}
        if not wanted:
            return
        found = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True, retain_graph=True)
        for block, gradient in zip(wanted, found, strict=True):
            if gradient is not None:
                self._gradients[block] = self._gradients.get(block, 0.0) + float(gradient.double().square().sum())

    def run(self, context: Context) -> Finding | str:
        """All rows, and the fits over the depth of each."""
        sites: list[Site] = []
        fits: list[dict[str, Any]] = []
        for row in self._rows:
            found = self._row(row)
            sites += found
            if len(found) > 2:
                fits.append(_fits([site.detail["variance"] for site in found]))
        if not sites:
            return "no block gave a tensor of its input's shape (…, width): there is no residual stream to follow"
        spread = self._gradient_spread()
        detail = {"depth": fits, "gradient_spread": spread}
        return self.conclude(sites, summary=self.summary(sites), detail=detail)

    def finding(self, place: Place) -> Site | None:
        """Not used: a block is judged in its row, by its depth."""
        return None

    def summary(self, sites: list[Site]) -> str:
        """One sentence."""
        top = max(sites, key=lambda site: site.figure)
        massive = sum(site.detail["massive"] for site in sites)
        largest = max(site.detail["absmax"] for site in sites)
        said = (
            f"variance {top.detail['variance']:.3g} after {top.path}, "
            f"{top.figure:.3g} times what normalised branches would give"
        )
        if massive:
            said += f"; {massive} massive activations"
        if all(site.severity == "ok" for site in sites):
            return f"the stream keeps its scale: {said}"
        return f"{said}; largest entry {largest:.3g}, {FP16_MAX / largest:.3g} times below fp16's limit"

    def _row(self, row: list[nn.Module]) -> list[Site]:
        places = [(place, block) for block in row for place in self.places.values() if place.module is block]
        sites: list[Site] = []
        law: float | None = None
        for place, block in places:
            if "tokens" not in place.sums:
                continue
            law = (place.sums["in"] / place.sums["tokens"] if law is None else law) + (2 if attends(block) else 1)
            sites.append(self._site(place, block, law))
        return sites

    def _site(self, place: Place, block: nn.Module, law: float) -> Site:
        sums = place.sums
        variance, massive, absmax = sums["out"] / sums["tokens"], sums.get("massive", 0), sums["absmax"]
        figure = variance / law
        headroom = FP16_MAX / absmax if absmax > 0 else math.inf
        severity: Severity = "ok"
        if not figure <= self.threshold or massive:
            severity = "act"
        elif headroom < self.headroom:
            severity = "watch"
        squared = self._gradients.get(block)
        detail = {
            "variance": variance,
            "law": law,
            "absmax": absmax,
            "massive": massive,
            "fp16_headroom": headroom,
            "gradient_norm": None if squared is None else math.sqrt(squared),
        }
        return Site(place.name, figure, severity, detail)

    def _gradient_spread(self) -> float | None:
        """Coefficient of variation of the gradient norms over depth; None where there are no gradients."""
        norms = np.sqrt(list(self._gradients.values()))
        return float(norms.std() / norms.mean()) if len(norms) > 1 and norms.mean() > 0 else None


def _last_matrix(block: nn.Module) -> nn.Parameter | None:
    """The matrix that writes to the stream: the last one that the block holds."""
    return next((p for p in reversed(list(block.parameters())) if p.ndim == 2), None)


def _fits(variances: list[float]) -> dict[str, Any]:
    """Line and exponential over depth: which explains more of the variance's course, and the growth per block."""
    y = np.asarray(variances)
    if not np.isfinite(y).all() or (y <= 0).any():
        return {"fit": "none"}
    depth = np.arange(len(y), dtype=float)
    slope, start = np.polyfit(depth, y, 1)
    rate, level = np.polyfit(depth, np.log(y), 1)
    errors = {
        "linear": ((y - (start + slope * depth)) ** 2).sum(),
        "exponential": ((y - np.exp(level + rate * depth)) ** 2).sum(),
    }
    fit = min(errors, key=lambda name: errors[name])
    return {"fit": fit, "slope": float(slope), "growth_per_block": float(np.exp(rate))}
