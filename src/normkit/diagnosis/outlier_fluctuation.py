"""Outlier fluctuation: single batches that would distort a norm with stored statistics for the batches that follow.

A norm that is free at inference divides by a statistic that it stored in training. Where LayerNorm is to become one
(BatchNorm, PowerNorm, UnifiedNorm), the question is what one batch does to that statistic. Per norm and channel, with
s_b the mean of x² over the positions of batch b, and G the geometric mean of s_b over the batches seen: were the
statistic G, batch b would move it to G' = m G + (1 − m) s_b, and with it the next outputs of the channel by the factor
sqrt((G + ε)/(G' + ε)). The figure is the largest over the batches of the root mean square over the channels of this
factor minus 1: the share of the signal by which one batch rescales the network for those that follow. m = 0.9, which is
what these layers use.

Of a UnifiedNorm the training steps that follow divide by the geometric mean of a window of M batches,
G' = G^(1 − 1/M) s_b^(1/M); with its filter on, the batches that it skips do not enter the window and are left out of
the figure. (What it stores for evaluation moves by a skipped batch as well, by the authors' rule, and forgets it within
some 1/(1 − m) steps.) A PowerNorm takes its statistic behind its layer scale, which no scale of a position passes.

**Threshold.** 10 % of the signal, where batch noise stands too (`batch_noise`): a batch with s_b = 3.35 G in all
channels reaches it. Batches of independent samples stay far below: s_b of n Gaussian positions has a relative spread of
sqrt(2/n), which moves the signal by 0.05·sqrt(2/n), a hundredth at n = 50.

**Beside it**: the authors' own test (Yang et al. 2022, arXiv:2208.01313, section 3.3), by which UnifiedNorm skips a
batch: within windows of M = 4 the arithmetic mean exceeds the geometric one by more than M·Var(√s) in some channel
(`flagged`), and the gap of the two means over all batches (`gap`).

**What it means.** LayerNorm itself is not harmed by such a batch; what follows from `act` is that no norm with plain
running statistics should take its place, and that the batches deserve a look. UnifiedNorm with its filter skips them.
"""

from collections import deque
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from normkit.diagnosis._framework.context import Context
from normkit.diagnosis._framework.finding import Finding, Severity, Site
from normkit.diagnosis._framework.probe import ModuleProbe, Place
from normkit.kernels.reference.power_norm import layer_scale
from normkit.nn import PowerNorm, UnifiedNorm

__all__ = ["OutlierFluctuation"]

_TINY = torch.finfo(torch.float64).tiny

Rows = Float[Tensor, "batches channels"]


class OutlierFluctuation(ModuleProbe):
    """By how much one batch rescales, by a stored statistic, those that follow; threshold 10 %. See the module.

    Source: Yang et al. 2022 (Unified Normalization), arXiv:2208.01313, section 3.
    """

    slug = "outlier-fluctuation"
    pathology = "single batches would distort a norm that is to be free at inference for the batches that follow"
    unit = "share of the signal by which one batch rescales the next"
    threshold = 0.1
    threshold_source = (
        "derived (normkit.diagnosis.outlier_fluctuation): 10 % of the signal, a batch of 3.35 times the usual mean "
        "square at momentum 0.9; Yang et al. 2022, section 3.3, for the pathology"
    )
    remedies: ClassVar = (("unified-norm",),)

    momentum = 0.9
    window = 4
    kept_batches = 64

    def begin(self, context: Context) -> str | None:
        """Look for norms over the last axis."""
        found = any(self.applies(module) for module in context.model.modules())
        return None if found else "the model has no LayerNorm, PowerNorm or UnifiedNorm over the last axis"

    def applies(self, module: nn.Module) -> bool:
        """Norms over the last axis that store a statistic of x², or stand where one could."""
        if isinstance(module, nn.LayerNorm):
            return len(module.normalized_shape) == 1
        return isinstance(module, UnifiedNorm) or (isinstance(module, PowerNorm) and module.channel_dim == -1)

    def watch(self, place: Place, input: Tensor, output: Tensor) -> None:
        """Keep the batch's mean square of each channel."""
        if input.ndim < 2 or not input.numel():
            return
        x = input.detach().to(torch.promote_types(input.dtype, torch.float32)).flatten(0, -2)
        if isinstance(place.module, PowerNorm):
            x = layer_scale(x, place.module.group_num, place.module.eps)
        rows = place.sums.setdefault("rows", deque(maxlen=self.kept_batches))
        rows.append(x.square().mean(0).double().cpu())
        place.sums["peak"] = max(place.sums.get("peak", 0.0), float(x.abs().max()))

    def run(self, context: Context) -> Finding | str:
        """All norms, where there are batches enough."""
        seen = [len(place.sums["rows"]) for place in self.places.values() if "rows" in place.sums]
        if not seen:
            return "no norm over the last axis was run on a batch of positions"
        if max(seen) <= self.window:
            return f"{max(seen)} batches are too few to call one unusual: pass more data, or max_batches= above {self.window}"  # noqa: E501
        return super().run(context)

    def finding(self, place: Place) -> Site | None:
        """What one batch would do at one norm."""
        if len(place.sums.get("rows", ())) <= self.window:
            return None
        rows = torch.stack(tuple(place.sums["rows"]))
        flagged = outliers(rows, self.window)
        unified = place.module if isinstance(place.module, UnifiedNorm) else None
        filters = unified is not None and unified.outlier_filtration
        admitted = rows[~flagged] if filters else rows  # the first window is never flagged
        usual = geometric_mean(admitted)
        if unified is None:
            moved_to = self.momentum * usual + (1 - self.momentum) * admitted
        else:
            moved_to = usual * (admitted / usual.clamp_min(_TINY)) ** (1 / unified.window_size[0])
        eps: Any = place.module.eps
        moved = (1 - ((usual + eps) / (moved_to + eps)).sqrt()).square().mean(1).sqrt()
        figure = float(moved.max())
        severity: Severity = "act" if not figure <= self.threshold else "ok"
        detail = {
            "batches": len(rows),
            "flagged": int(flagged.sum()),
            "filter": filters,
            "gap": float((rows.mean(0) / geometric_mean(rows) - 1).mean()),
            "peak": place.sums["peak"] / max(float(rows.mean().sqrt()), 1e-30),
            "displacements": [float(value) for value in moved],
        }
        return Site(place.name, figure, severity, detail)

    def summary(self, sites: list[Site]) -> str:
        """One sentence."""
        bad = [site for site in sites if site.severity == "act"]
        if not bad:
            return (
                f"no batch would rescale those that follow by more than {self.threshold:.0%} at the {len(sites)} norms"
            )
        top = max(bad, key=lambda site: site.figure)
        return (
            f"at {len(bad)} of {len(sites)} norms one batch rescales those that follow by up to {top.figure:.0%} "
            f"(worst at {top.path}) where the statistic is stored: look at the batches, and take no running "
            "statistics without a filter"
        )


def geometric_mean(rows: Rows) -> Float[Tensor, " channels"]:
    """Over the batches; a zero counts as the smallest normal number."""
    return rows.clamp_min(_TINY).log().mean(0).exp()


def outliers(rows: Rows, window: int) -> Bool[Tensor, " batches"]:
    """Which batches the authors' test would skip, each judged with the `window` − 1 before it that were not skipped."""
    flagged = torch.zeros(len(rows), dtype=torch.bool)
    kept = list(rows[:window])
    for index in range(window, len(rows)):
        before = torch.stack(kept[-window:])
        now = torch.cat([before[1:], rows[index : index + 1]])
        gap = now.mean(0) - geometric_mean(now)
        flagged[index] = (gap > window * before.sqrt().var()).any()
        if not flagged[index]:
            kept.append(rows[index])
    return flagged
