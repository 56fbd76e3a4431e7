"""What the rules for EvoNorm share: find the activation behind a norm, take it out, and fit the layer that is both.

v is chosen for each channel from a grid in units of the reciprocal spread of its input; γ and β follow by least squares
on the old norm's output after its activation. A norm without an activation behind it becomes γ x + β, as in the paper.

Source: Liu et al. 2020, "Evolving Normalization-Activation Layers", arXiv:2004.02967, table 3 and section 5.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from normkit.conversion._framework.fitting import Regression, regress, set_statistics
from normkit.conversion._framework.norms import check_own_forward
from normkit.conversion._framework.pairs import Pairs
from normkit.conversion._framework.rule import Calibrated, Refusal, Site
from normkit.conversion.fold import affine_of
from normkit.surgery import Step, bypass, is_activation, replace, submodule

__all__ = ["Absorbing"]

_SLOPES = (0.25, 0.5, 1.0, 2.0, 4.0, -0.5, -1.0, -2.0)
"""Grid of v in units of 1/spread: from nearly linear to nearly a step; both signs, as γ < 0 turns a channel round."""


@dataclass(frozen=True)
class Absorbing(Calibrated):
    """What all the layers share: the search for the activation, its removal, and the fit."""

    why: ClassVar[str] = "normalisation and activation in one layer"
    about: ClassVar[str] = "BatchNorm or GroupNorm"

    def matches(self, site: Site) -> bool:
        """A BatchNorm or GroupNorm."""
        return isinstance(site.module, (_BatchNorm, nn.GroupNorm))

    def survey(self, site: Site) -> dict[str, Any]:
        """Which activation reads the norm, and how it can be taken out."""
        check_own_forward(site.module)
        if not isinstance(site.module, (nn.BatchNorm2d, nn.GroupNorm)):
            raise Refusal(f"a {type(site.module).__name__}: EvoNorm2d is made for (B, C, H, W)")
        self.layer(site.module, act=True)
        readers = site.followers()
        assert site.flow is not None
        activations = [step for step in readers if is_activation(_called(site, step))]
        if not activations:
            return {"activation": None, "readers": sorted({step.name for step in readers})}
        if len(readers) > 1 or len(site.flow.calls(site.path)) > 1:
            raise Refusal("its output is read by an activation and by something else as well")
        (act,), (call,) = activations, site.flow.calls(site.path)
        if act.kind == "module" and len(site.flow.calls(act.path)) == 1:
            return {"activation": act.path, "caller": None}
        caller = _common(act.caller, call.caller)
        return {"activation": act.path or act.name, "caller": caller, "function": _described(act)}

    def layer(self, old: nn.Module, act: bool) -> nn.Module:
        """The new layer with its initial values."""
        raise NotImplementedError

    def replacement(self, site: Site, pairs: Pairs | None) -> nn.Module:
        """The new layer; the activation that it absorbs is gone from the network."""
        absorbed = site.details["activation"]
        new = self.layer(site.module, absorbed is not None)
        for name in ("weight", "bias"):
            source = getattr(site.module, name)
            if isinstance(source, nn.Parameter):
                getattr(new, name).requires_grad_(source.requires_grad)
        act = _activation(site) if absorbed is not None else None
        if act is None:
            readers = ", ".join(site.details.get("readers", [])) or "nothing"
            site.why = f"no known activation reads it (but {readers}), so it becomes an affine map of each channel"
        if pairs is not None:
            _fit(new, site.module, pairs, act)
        elif act is None:
            _fit_affine(new, site.module, None)
        if absorbed is not None and site.details["caller"] is not None:
            _take_out_call(site)  # after the fit: where it refuses, nothing has been changed
        if absorbed is not None and site.details["caller"] is None:
            module = submodule(site.model, absorbed)
            site.note(absorbed, module, "Identity", f"the EvoNorm at {site.path} is activation as well")
            replace(site.model, absorbed, nn.Identity())
        return new


def _called(site: Site, step: Step) -> nn.Module | Callable[..., Any] | None:
    return submodule(site.model, step.path) if step.kind == "module" else step.function


def _common(one: str, other: str) -> str:
    """The innermost module that holds both."""
    shared = []
    for left, right in zip(one.split("."), other.split("."), strict=False):
        if left != right:
            break
        shared.append(left)
    return ".".join(shared)


def _described(act: Step) -> dict[str, Any] | None:
    """A functional activation, so that a replay can name it; None for a module."""
    if act.kind == "module":
        return None
    options = {str(key): value for key, value in act.arguments.items() if isinstance(value, (bool, int, float, str))}
    return {"name": act.name, "options": options}


def _activation(site: Site) -> Callable[[Tensor], Tensor]:
    """The activation as a function that leaves its input alone."""
    function = site.details.get("function")
    if function is None:
        module = submodule(site.model, str(site.details["activation"]))
        return lambda x: module(x.clone())
    name = str(function["name"]).rstrip("_")
    options = {key: value for key, value in function["options"].items() if not key.isdigit() and key != "inplace"}
    positional = [value for key, value in sorted(function["options"].items()) if key.isdigit()]
    call = getattr(torch.nn.functional, name)
    return lambda x: call(x, *positional, **options)


def _take_out_call(site: Site) -> None:
    caller = str(site.details["caller"])
    try:
        bypass(site.model, caller, site.path)
    except ValueError as error:
        raise Refusal(f"its activation {site.details['activation']} cannot be taken out: {error}") from None
    parent = submodule(site.model, caller)
    why = f"the EvoNorm at {site.path} is activation as well"
    site.note(
        caller, f"{type(parent).__name__}.forward", f"without {site.details['activation']} after {site.path}", why
    )


def _fit(new: nn.Module, old: nn.Module, pairs: Pairs, act: Callable[[Tensor], Tensor] | None) -> None:
    if act is None:
        _fit_affine(new, old, pairs)
        return
    set_statistics(new, pairs)
    _fit_activated(new, pairs, act)


@torch.no_grad()
def _fit_affine(new: Any, old: nn.Module, pairs: Pairs | None) -> None:
    """γ x + β: exactly what a BatchNorm with running statistics is in evaluation; else by least squares."""
    if isinstance(old, _BatchNorm) and old.running_var is not None:
        slope, intercept = affine_of(old)
    elif pairs is not None:
        slope, intercept, _ = regress(pairs, new.num_features).solve()
    else:
        return
    new.weight.copy_(slope)
    new.bias.copy_(intercept)


@torch.no_grad()
def _fit_activated(new: Any, pairs: Pairs, act: Callable[[Tensor], Tensor]) -> None:
    """γ and β by least squares and, where the layer has one, the v of the grid that leaves the least, by channel."""
    channels = new.num_features
    inputs = regress(((x, x) for x, _ in pairs), channels)
    if not inputs.count:
        raise Refusal("it was not reached on the data, so there is nothing to fit it to")
    second, first = inputs.sums[2] / inputs.count, inputs.sums[0] / inputs.count
    spread = (second - first * first).clamp_min(1e-12).sqrt()
    new.weight.fill_(1)
    new.bias.zero_()
    slopes = torch.tensor(_SLOPES if new.v is not None else (1.0,), dtype=torch.float64)
    tried = [Regression(channels) for _ in slopes]
    for x, t in _activated(pairs, act):
        for slope, regression in zip(slopes, tried, strict=True):
            if new.v is not None:
                new.v.copy_(slope / spread)
            regression.add(_evaluated(new, x), t)
    solved = torch.stack([torch.stack(regression.solve()) for regression in tried])  # (slopes, 3, C)
    best, channel = solved[:, 2].argmin(0), torch.arange(channels)
    if new.v is not None:
        new.v.copy_(slopes[best] / spread)
    new.weight.copy_(solved[best, 0, channel])
    new.bias.copy_(solved[best, 1, channel])


def _activated(pairs: Pairs, act: Callable[[Tensor], Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    for x, t in pairs:
        yield x, act(t)


def _evaluated(new: nn.Module, x: Tensor) -> Tensor:
    mode = new.training
    try:
        return new.eval()(x)
    finally:
        new.train(mode)
