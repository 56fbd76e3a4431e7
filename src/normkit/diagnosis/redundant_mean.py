"""Redundant mean: a Pre-LN stream carries its mean through the whole network, and every reader throws it away.

In x ← x + M(LN(x)) LayerNorm subtracts the mean of x, so no branch M knows it; only the sum carries it on. If the
writers M and the embedding write zero-mean vectors instead, LayerNorm becomes RMSNorm, exactly (Jiang et al. 2023,
arXiv:2305.14858, section 3), and one reduction per norm is saved.

**How it is found.** Not by names but by the function: the mean is unread if and only if a block answers a shift of its
input by a constant with the same shift of its output, f(x + c·1) = f(x) + c·1. Each block is run twice on the first
batch's own stream, once shifted by c = one standard deviation of it; the figure is the share of the shift that passes
unread, 1 − ‖f(x + c) − f(x) − c‖/‖c‖ (root mean squares). Pre-RMSNorm reads the mean, Post-LN removes it: both answer
otherwise. A Peri-LN block passes the shift too, but its writers end in norms, which write a mean of their own that no
recentring of weights takes out: such blocks (what is added to the stream is the sum of their norms' outputs) are listed
with figure 0, for there is no exact remedy.

**Threshold.** 0.999. In exact arithmetic the figure is 1 or visibly less; the per mille is room for float32's rounding
(3e-4 at most for sums of a thousand terms) and for half precision wider still: 1 − √u of the stream's type.

**Severity.** `act` means that an exact remedy exists and `normkit.convert` can apply it to this model (it is asked for
its plan); `watch` means that the mean is redundant and the architecture has no recipe yet. What the remedy saves is
measured, not promised: LayerNorm and RMSNorm are timed against each other on the stream's own shape, and on a CPU the
ratio may well be below 1.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from normkit.diagnosis._framework.context import Context, tensor_in
from normkit.diagnosis._framework.finding import Finding, Severity, Site
from normkit.diagnosis._framework.layers import blocks, is_norm
from normkit.diagnosis._framework.probe import ModuleProbe, Place
from normkit.diagnosis._framework.remedy import applicable, convertible

__all__ = ["RedundantMean"]


class RedundantMean(ModuleProbe):
    """1 − ‖f(x + c) − f(x) − c‖/‖c‖ per block; threshold 0.999. See the module's docstring.

    Source: Jiang et al. 2023 (Pre-RMSNorm), arXiv:2305.14858, section 3.
    """

    slug = "redundant-mean"
    pathology = "the stream carries a mean that every reader throws away"
    unit = "share of a shift of the stream that no branch reads"
    threshold = 0.999
    threshold_source = "exact property of Pre-LN (Jiang et al. 2023, section 3) up to rounding"
    remedies: ClassVar = (("pre-rmsnorm",), ("pre-crmsnorm",))
    rehearses = "runs each block twice more on the first batch; times two norms for about 0.1 s"

    def begin(self, context: Context) -> str | None:
        """Find the rows of blocks."""
        if context.monitoring:
            return "it runs blocks a second time, which a training loop must not see: use diagnose"
        self._blocks = [block for row in blocks(context.model) for block in row]
        return None if self._blocks else "the model has no row of blocks with a residual stream (transformer layers)"

    def applies(self, module: nn.Module) -> bool:
        """Blocks of a row."""
        return module in self._blocks

    def watch(self, place: Place, input: Tensor, output: Tensor) -> None:
        """On the first batch, run the block on its stream and on the shifted stream."""
        if place.sums or input.shape != output.shape or not 2 <= input.ndim <= 3 or not output.numel():
            return
        place.sums.update(_answer_to_shift(place, input), shape=tuple(input.shape), dtype=input.dtype)

    def finding(self, place: Place) -> Site | None:
        """What one block does with the mean."""
        if "unread" not in place.sums:
            return None
        sums = place.sums
        kind = "pre" if sums["unread"] > self._least(sums["dtype"]) else "reads the mean"
        if kind == "pre" and sums["writes_norms"]:
            kind = "peri"
        figure = 0.0 if kind == "peri" else sums["unread"]
        severity: Severity = "act" if kind == "pre" else "ok"
        return Site(place.name, figure, severity, {"kind": kind, "unread": sums["unread"], "readers": sums["readers"]})

    def run(self, context: Context) -> Finding | str:
        """All blocks; the plan of the remedy, and the measured times, where the mean is redundant."""
        sites = [site for place in self.places.values() if (site := self.finding(place))]
        if not sites:
            return "no block gave a tensor of its input's shape (…, width): there is no residual stream to follow"
        if all(site.severity == "ok" for site in sites):
            return self.conclude(sites, summary=self.summary(sites))
        remedies, refusal = convertible(applicable(self.remedies), context)
        detail: dict[str, Any] = {"refused": refusal} if refusal else {}
        detail |= self._times()
        said = f"{self.summary(sites)}; {_said(detail)}" + (f"; no exact remedy here: {refusal}" if refusal else "")
        severity: Severity = "act" if remedies else "watch"
        sites = [s if s.severity == "ok" else Site(s.path, s.figure, severity, s.detail) for s in sites]
        return self.conclude(sites, summary=said, remedies=remedies, detail=detail)

    def summary(self, sites: list[Site]) -> str:
        """One sentence."""
        bad = [site for site in sites if site.severity != "ok"]
        if not bad:
            return "no block carries a mean that an exact conversion could drop"
        return f"{len(bad)} of {len(sites)} blocks are Pre-LN: the mean of their stream is carried and never read"

    def _least(self, dtype: torch.dtype) -> float:
        """From which figure on a block counts as blind to the mean: the threshold, or less in half precision."""
        return min(self.threshold, 1 - torch.finfo(dtype).eps ** 0.5)

    def _times(self) -> dict[str, Any]:
        """LayerNorm's time over RMSNorm's on the stream's shape: median of the rounds' ratios, with its interval."""
        from normkit.benchmarks import interleaved
        from normkit.nn import LayerNorm, RMSNorm

        sums = next(place.sums for place in self.places.values() if "shape" in place.sums)
        x = torch.randn(sums["shape"], dtype=torch.float32).to(sums["dtype"])
        layer, rms = (kind(x.shape[-1]).to(x.dtype) for kind in (LayerNorm, RMSNorm))
        ratio = interleaved({"layer": lambda: layer(x), "rms": lambda: rms(x)}, rounds=9).ratio("layer", "rms")
        return {"time_ratio": ratio[0], "time_ratio_low": ratio[1], "time_ratio_high": ratio[2], "shape": sums["shape"]}


def _answer_to_shift(place: Place, stream: Tensor) -> dict[str, Any]:
    """Run a block on `stream` and on `stream + c`: the share of the shift that passes, and what its norms did."""
    args, kwargs = place.arguments
    shift = stream.float().std(correction=0).clamp_min(torch.finfo(torch.float32).tiny).to(stream.dtype)
    plain, norms = _run(place.module, _with(args, stream, stream), _with(kwargs, stream, stream))
    moved, moved_norms = _run(place.module, _with(args, stream, stream + shift), _with(kwargs, stream, stream + shift))
    rest = (moved.double() - plain.double() - shift.double()).square().mean().sqrt() / shift.double()
    pairs = list(zip(norms, moved_norms, strict=True))
    readers = sum(not _still(x, shifted, shift) for (x, _), (shifted, _) in pairs)
    inside = [y for (x, y), (shifted, _) in pairs if _still(x, shifted, shift) and y.shape == plain.shape]
    writes_norms = _sums_up(inside, plain - stream)
    return {"unread": float((1 - rest).clamp_min(0)), "readers": readers, "writes_norms": writes_norms}


def _still(x: Tensor, shifted: Tensor, shift: Tensor) -> bool:
    """Whether a norm inside the block did not notice the shift of the stream: it stands inside a branch."""
    return bool((shifted.float() - x.float()).mean().abs() < 0.5 * shift.float().abs())


def _sums_up(outputs: list[Tensor], written: Tensor) -> bool:
    """Whether what a block adds to its stream is the sum of norms' outputs."""
    if not outputs:
        return False
    rest = written.double() - torch.stack([each.double() for each in outputs]).sum(0)
    return bool(rest.square().mean() < 1e-4 * written.double().square().mean())


def _run(block: nn.Module, args: Any, kwargs: Any) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """The block's output and, for each normaliser inside, what it took and gave."""
    norms: list[tuple[Tensor, Tensor]] = []

    def keep(module: nn.Module, given: Any, made: Tensor) -> None:
        norms.append((given[0], made))

    handles = [part.register_forward_hook(keep) for part in block.modules() if part is not block and is_norm(part)]
    try:
        made = tensor_in(block(*args, **kwargs))
    finally:
        for handle in handles:
            handle.remove()
    assert made is not None
    return made, norms


def _with(value: Any, old: Tensor, new: Tensor) -> Any:
    """Arguments with one tensor exchanged; what keeps state from call to call (a key-value cache) is left out."""
    if value is old:
        return new
    if isinstance(value, dict):
        return {name: _with(each, old, new) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_with(each, old, new) for each in value)
    return value if value is None or isinstance(value, Tensor | bool | int | float | str) else None


def _said(detail: dict[str, Any]) -> str:
    low, high, middle = detail["time_ratio_low"], detail["time_ratio_high"], detail["time_ratio"]
    shape = "×".join(map(str, detail["shape"]))
    return (
        f"on {shape} LayerNorm takes {middle:.2f} (95 % interval {low:.2f} to {high:.2f}) times as long as RMSNorm here"
    )
