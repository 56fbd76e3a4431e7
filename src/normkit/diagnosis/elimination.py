"""Elimination: channels that are lost to the network because their ReLU is always off, or always on.

For the tensor x that enters a ReLU straight from a normalisation layer, per channel over all samples and positions,
with mean m_c, standard deviation s_c and activation rate q_c = P(x > 0):

- dead: q_c < 1 %; the channel passes nothing. Linear: q_c > 99 %; its non-linearity is gone. Both are eliminations;
- nearness to a singularity: |m_c|/s_c (under a normal law 2.33 is the edge: Φ(−2.33) = 1 %);
- spread: mean |m_c − m_c'| over pairs of channels, divided by the mean s_c.

**Threshold.** More than 5 % of a layer's channels. Batch normalisation with γ = 1, β = 0 puts every channel at q ≈ ½,
so in a layer that it serves an elimination is a drift of β/γ beyond 2.33 standard deviations; at 5 % the layer has lost
as many channels as pruning studies remove without being asked. In a layer of less than 20 channels one is enough.

**When it is not judged.** A rate of 1 % cannot be told from 0 in a handful of samples, whose positions resemble each
other: at least 100 samples are wanted, in which a channel of 1 % is active once or more on average.

**Mode.** Evaluation, as the paper's networks are used; training mode where running statistics have never been filled,
since evaluation mode would then measure the missing calibration and not the network.

Source: Qiao et al. 2020, arXiv:1903.10520, section 3 (elimination singularities); the definition by rates is this
project's, the paper argues with distances between channel statistics.
"""

import weakref
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from normkit.diagnosis._framework.context import Context
from normkit.diagnosis._framework.finding import Finding, Severity, Site
from normkit.diagnosis._framework.layers import channel_dim, is_norm
from normkit.diagnosis._framework.probe import Mode, ModuleProbe, Place

__all__ = ["Elimination"]


class Elimination(ModuleProbe):
    """Share of channels with P(x > 0) < 1 % or > 99 % in front of a ReLU; threshold 5 %. See the module's docstring.

    Source: Qiao et al. 2020, arXiv:1903.10520, section 3.
    """

    slug = "elimination"
    pathology = "channels whose ReLU is always off or always on are lost to the network"
    unit = "share of the layer's channels"
    threshold = 0.05
    threshold_source = "derived (normkit.diagnosis.elimination); Qiao et al. 2020, section 3, for the pathology"
    remedies: ClassVar = (("weight-standardization", "batch-channel-norm"), ("batch-channel-norm",))
    operations = frozenset({"aten::relu", "aten::relu_"})

    dead = 0.01
    linear = 0.99
    fewest_samples = 100

    def begin(self, context: Context) -> str | None:
        """Remember nothing yet of what the normalisers gave."""
        self._last: tuple[weakref.ref[Tensor], nn.Module] | None = None
        self._samples = 0
        return None if any(map(is_norm, context.model.modules())) else "the model has no normalisation layer"

    def mode(self, context: Context) -> Mode:
        """Evaluation, or training where some running statistics were never filled."""
        tracked = [getattr(module, "num_batches_tracked", None) for module in context.model.modules()]
        return "train" if any(count is not None and int(count) == 0 for count in tracked) else "eval"

    def applies(self, module: nn.Module) -> bool:
        """Normalisers: what they give is looked for at the ReLUs."""
        return is_norm(module)

    def watch(self, place: Place, input: Tensor, output: Tensor) -> None:
        """Remember which tensor a normaliser has just given."""
        self._last = (weakref.ref(output), place.module)

    def before_operation(self, place: Place, name: str, arguments: tuple[Any, ...]) -> None:
        """Add up what enters a ReLU, if it comes straight from a normaliser."""
        x: Tensor = arguments[0]
        if self._last is None or self._last[0]() is not x or x.ndim < 2 or x.numel() == 0:
            return
        dim = channel_dim(self._last[1], x)
        others = [each for each in range(x.ndim) if each != dim]
        wide = x.float() if x.dtype.itemsize < 4 else x
        sums = place.sums
        if "shift" not in sums:
            sums["shift"] = wide.mean(others)
        deviation = wide - sums["shift"].view([-1 if each == dim else 1 for each in range(x.ndim)])
        active, total = (x > 0).sum(others), deviation.sum(others)
        added = torch.stack([active.double(), total.double(), deviation.square_().sum(others).double()])
        sums["rows"] = added if "rows" not in sums else sums["rows"] + added
        count = x.numel() // x.shape[dim]
        sums["count"] = sums.get("count", 0) + count
        sums["samples"] = sums.get("samples", 0) + x.shape[0]

    def run(self, context: Context) -> Finding | str:
        """All ReLUs behind normalisers."""
        seen = [place.sums["samples"] for place in self.places.values() if "rows" in place.sums]
        if not seen:
            return "no ReLU stands straight behind a normalisation layer"
        if min(seen) < self.fewest_samples:
            return f"{min(seen)} samples are too few to tell a rare channel from a dead one: pass max_batches= so that at least {self.fewest_samples} are seen"  # noqa: E501
        return super().run(context)

    def finding(self, place: Place) -> Site | None:
        """The eliminated channels in front of one ReLU."""
        if "rows" not in place.sums:
            return None
        active, moved, squares = place.sums["rows"] / place.sums["count"]
        deviation = (squares - moved.square()).clamp_min(0).sqrt()
        mean = place.sums["shift"].double() + moved
        dead, linear = active < self.dead, active > self.linear
        figure = float((dead | linear).double().mean())
        severity: Severity = "act" if figure > self.threshold else "ok"
        nearness = mean.abs() / deviation.clamp_min(torch.finfo(torch.float32).tiny)
        spread = (mean[:, None] - mean[None, :]).abs().mean() / deviation.mean().clamp_min(1e-30)
        detail = {
            "dead": int(dead.sum()),
            "linear": int(linear.sum()),
            "channels": len(active),
            "nearest": float(nearness.max()),
            "spread": float(spread),
        }
        return Site(place.name, figure, severity, detail)

    def summary(self, sites: list[Site]) -> str:
        """One sentence."""
        bad = [site for site in sites if site.severity == "act"]
        if not bad:
            return f"every channel takes part: none of the {len(sites)} ReLUs has lost more than {self.threshold:.0%}"
        dead, linear = (sum(site.detail[name] for site in bad) for name in ("dead", "linear"))
        top = max(bad, key=lambda site: site.figure)
        return (
            f"{len(bad)} of {len(sites)} ReLUs have lost channels: {dead} never active, {linear} always active; "
            f"worst at {top.path} ({top.figure:.0%} of {top.detail['channels']} channels)"
        )
