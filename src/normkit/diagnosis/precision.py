"""Precision: normalisation or softmax that loses more to rounding than its output's type has to cost.

Every normaliser and every softmax of the first batch is computed a second time from the same input in float64 (the
normaliser on a float64 copy of itself), and

    figure = RMS(y − y₆₄) / RMS(y₆₄)      (for a softmax: of the probabilities)

**Threshold.** `act` above 1 %. Rounding the result once to its type costs at most u = 2⁻⁹ = 0.2 % in bfloat16 and
2⁻¹² in float16 (unit roundoff); 1 % is five such roundings in the coarsest type in use, so the loss then comes from
*how* the layer was computed (statistics in half precision, E[x²] − E[x]², a mean subtracted too late), not from where
its result is stored. (A log-softmax is the exception that proves it: log p ≈ −11 in bfloat16 has steps of 6 %, and the
loss belongs in float32.) `watch` where, in a type of 16 bits, the loss is more than twice what rounding the float64
result once would cost: the statistics were computed in half precision, and on these data it did little harm.

`act` too where the result is not finite though the float64 result is (overflowing squares, ε rounded to 0), where a
softmax meets +inf (logits beyond the type's largest number) or a row that is masked as a whole (all −inf: NaN).

**ε.** A copy of each normaliser is given zeros of its input's type, the padded row of every sequence model: if the
answer is not finite, ε has been lost below the type's resolution. That is `watch`, and `act` in 16 bits if such rows
were seen.

Source: Micikevicius et al. 2018, "Mixed Precision Training", arXiv:1710.03740, section 3.3 (statistics in float32);
Dukhan & Ablavatski 2020, arXiv:2001.04438 (overflow of softmax).
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from normkit.diagnosis._framework.context import Context
from normkit.diagnosis._framework.finding import Finding, Severity, Site
from normkit.diagnosis._framework.layers import is_norm
from normkit.diagnosis._framework.probe import ModuleProbe, Place
from normkit.diagnosis._framework.remedy import Remedy

__all__ = ["Precision"]

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class Precision(ModuleProbe):
    """RMS(y − y₆₄)/RMS(y₆₄) per normaliser and softmax; threshold 1 %. See the module's docstring.

    Source: Micikevicius et al. 2018, arXiv:1710.03740, section 3.3; Dukhan & Ablavatski 2020, arXiv:2001.04438.
    """

    slug = "precision"
    pathology = "normalisation or softmax loses digits, overflows or divides by zero in its type"
    unit = "relative error against float64"
    threshold = 0.01
    threshold_source = "derived (normkit.diagnosis.precision): five roundings to bfloat16, 5 × 2⁻⁹"
    operations = frozenset({"aten::_softmax", "aten::_log_softmax"})
    rehearses = "computes normalisers and softmaxes of the first batch a second time in float64"

    def begin(self, context: Context) -> str | None:
        """Copy every normaliser in float64, without its hooks: one number a channel."""
        if context.monitoring:
            return "it computes layers a second time, which would slow a training loop: use diagnose"
        norms = [module for module in context.model.modules() if is_norm(module)]
        self._copies = {module: _clean_copy(module).eval() for module in norms}
        return None

    def applies(self, module: nn.Module) -> bool:
        """Normalisers."""
        return module in self._copies

    def watch(self, place: Place, input: Tensor, output: Tensor) -> None:
        """Compare a normaliser of the first batch with its float64 copy, and try it on zeros."""
        if place.sums or not input.numel():
            return
        twin = self._copies[place.module]
        others = place.arguments[0][1:]  # a mask, where the normaliser takes one
        exact = copy.deepcopy(twin).double()(input.double(), *others)
        rounded = exact.to(output.dtype).double()
        place.sums.update(_compare(output.double(), exact, rounded, output.dtype), what=type(place.module).__name__)
        first = (each[:1] if isinstance(each, Tensor) and each.ndim else each for each in others)
        zeros = twin(torch.zeros_like(input[:1]), *first)
        lost = not bool(torch.isfinite(zeros).all())
        flat = input.double().flatten(1).var(1, correction=0) if input.ndim > 1 else input.double()
        place.sums["eps_lost"] = lost
        place.sums["constant_rows"] = int((flat == 0).sum()) if lost else 0

    def watch_operation(self, place: Place, name: str, arguments: tuple[Any, ...], output: Any) -> None:
        """Compare a softmax of the first batch with float64, and look for rows that it cannot serve."""
        x, dim = arguments[0], arguments[1]
        if place.sums or not x.numel() or not x.is_floating_point():
            return
        wide, dtype = x.double(), output.dtype
        logs = name == "aten::_log_softmax"
        highest = wide.amax(dim)
        known = torch.isfinite(highest).unsqueeze(dim)
        exact = (wide.log_softmax if logs else wide.softmax)(dim)
        parts = (output.double(), exact, exact.to(dtype).double())
        made, exact, rounded = (torch.where(known, part.exp() if logs else part, 0) for part in parts)
        span = (highest - wide.masked_fill(wide == -torch.inf, torch.inf).amin(dim)).clamp_min(0)
        finite = span[torch.isfinite(span)]
        place.sums.update(
            _compare(made, exact, rounded, dtype),
            what="log_softmax" if logs else "softmax",
            row_length=x.shape[dim],
            row_range=float(finite.max()) if finite.numel() else 0.0,
            masked_share=float((wide == -torch.inf).double().mean()),
            masked_rows=int((highest == -torch.inf).sum()),
            overflowed_rows=int((highest == torch.inf).sum()),
        )

    def finding(self, place: Place) -> Site | None:
        """One normaliser or softmax."""
        sums = dict(place.sums)
        if "error" not in sums:
            return None
        error, rounding = sums.pop("error"), sums["rounding"]
        half = sums["dtype"] in ("bfloat16", "float16")
        rows = sums.get("masked_rows", 0) + sums.get("overflowed_rows", 0)
        severity: Severity = "ok"
        if not error <= self.threshold or sums["not_finite"] or rows or (half and sums.get("constant_rows")):
            severity = "act"
        elif (half and error > 2 * rounding) or sums.get("eps_lost"):
            severity = "watch"
        return Site(place.name, error, severity, sums)

    def run(self, context: Context) -> Finding | str:
        """All normalisers and softmaxes."""
        sites = [site for place in self.places.values() if (site := self.finding(place))]
        if not sites:
            return "neither a normaliser nor a softmax was run"
        advice = _advice([site for site in sites if site.severity != "ok"])
        return self.conclude(sites, summary=self.summary(sites), remedies=advice)

    def summary(self, sites: list[Site]) -> str:
        """One sentence."""
        bad = [site for site in sites if site.severity != "ok"]
        if not bad:
            return f"{len(sites)} normalisers and softmaxes agree with float64 as well as their types allow"
        top = max(bad, key=lambda site: site.figure)
        what = f"{top.detail['what']} at {top.path or 'the model itself'} in {top.detail['dtype']}"
        said = f"{len(bad)} of {len(sites)} places; worst: {what}, relative error {top.figure:.2g}"
        for name, text in _ROWS.items():
            if count := sum(site.detail.get(name, 0) for site in bad):
                said += f"; {count} {text}"
        if any(site.detail.get("eps_lost") for site in bad):
            said += "; a constant row gives no finite answer: eps is lost in this type"
        return said


_ROWS = {
    "masked_rows": "softmax rows are masked as a whole and give NaN",
    "overflowed_rows": "softmax rows hold +inf",
    "not_finite": "values are not finite where float64 is",
}


def _clean_copy(module: nn.Module) -> nn.Module:
    """A copy without hooks, so that running it tells nobody."""
    hooks = {name: getattr(module, name) for name in _HOOKS}
    memo = {id(held): type(held)() for held in hooks.values()}
    twin = copy.deepcopy(module, memo)
    for parameter in twin.parameters():
        parameter.requires_grad_(False)
    return twin


def _compare(made: Tensor, exact: Tensor, rounded: Tensor, dtype: torch.dtype) -> dict[str, Any]:
    """Relative RMS error, that of the exact result `rounded` once to `dtype`, and how many values are lost altogether.

    All three tensors are float64 and of one shape.
    """
    known = torch.isfinite(exact)
    both = known & torch.isfinite(made)
    scale = _rms(exact[both])
    return {
        "error": _rms((made - exact)[both]) / scale if scale > 0 else 0.0,
        "rounding": _rms((rounded - exact)[both]) / scale if scale > 0 else 0.0,
        "not_finite": int((known & ~torch.isfinite(made)).sum()),
        "dtype": str(dtype).removeprefix("torch."),
    }


def _rms(x: Tensor) -> float:
    return float(x.square().mean().sqrt()) if x.numel() else 0.0


def _advice(bad: list[Site]) -> tuple[Remedy, ...]:
    """The line that helps: another softmax, or statistics in float32."""
    softmaxes = [site for site in bad if "row_length" in site.detail]
    advice = []
    if softmaxes:
        line = "probabilities = normkit.functional.softmax(logits.float(), dim=-1, masked_zero=True)"
        advice.append(Remedy(("float32-softmax",), "advice", line))
    if norms := [site for site in bad if site not in softmaxes]:
        path = norms[0].path
        line = f'model.get_submodule("{path}").float()  # or normkit.nn.LayerNorm/RMSNorm: statistics in float32'
        advice.append(Remedy(("float32-statistics",), "advice", line))
    return tuple(advice)
