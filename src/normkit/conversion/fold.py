"""Fold a norm that is an affine map of each channel in evaluation into the linear maps beside it.

BatchNorm, with a = γ/sqrt(σ² + ε) and c = β − a μ: behind a map, W ← diag(a) W and b ← a b + c; in front of a linear
layer, W ← W diag(a) and b ← b + W c. UnifiedNorm, PowerNorm without layer scale, and every layer of `normkit.nn` that
says its `scale_and_shift`, stands over the last axis and goes into all the linear maps that read it, attention's input
projections among them.

Sources: Ioffe and Szegedy 2015, arXiv:1502.03167, section 3.1 (inference); Yang et al. 2022 (Unified Normalization),
arXiv:2208.01313, section 3.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvTransposeNd

from normkit.conversion._framework.maps import fold_into_reader, plain_map, readers, set_bias
from normkit.conversion._framework.pairs import Pairs
from normkit.conversion._framework.rule import Refusal, Rule, Site
from normkit.surgery import Step, submodule

__all__ = ["Fold"]

_MAPS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)


@dataclass(frozen=True)
class Fold(Rule):
    """Fold BatchNorms into the map before or behind them, UnifiedNorms and PowerNorms into all the maps that read them.

    The norm becomes `nn.Identity`; a map gains a bias where it had none. Exact for evaluation, which is what it is for:
    a network that goes on training has no norm there any more. A UnifiedNorm must be in evaluation mode and have
    statistics; a PowerNorm must be so too, with `group_num=0`, as layer scale depends on the input. What cannot take it
    exactly is left, with the reason: a residual sum that reads the norm (Post-LN), an output of the network, a tied or
    parametrised weight.
    """

    slug: ClassVar[str] = "fold"
    why: ClassVar[str] = "its affine map of each channel stands in the weights beside it"
    about: ClassVar[str] = "BatchNorm, UnifiedNorm or PowerNorm"

    @property
    def remark(self) -> str:
        """Evaluation only."""
        return "exact in evaluation only: batch statistics are gone, so do not train from here"

    def matches(self, site: Site) -> bool:
        """A BatchNorm of any number of dimensions, or a layer that says its scale and shift."""
        return isinstance(site.module, _BatchNorm) or _states_its_scale(site.module)

    def survey(self, site: Site) -> dict[str, Any]:
        """Which map takes it, and on which side it stands."""
        if _states_its_scale(site.module):
            return {"into": _readers(site), "side": "readers"}
        norm = site.module
        assert isinstance(norm, _BatchNorm)
        if norm.running_mean is None:
            raise Refusal("it keeps no running statistics, so in evaluation it depends on the batch as well")
        site.followers()  # refuses where the flow is not known
        assert site.flow is not None
        if len(site.flow.calls(site.path)) > 1:
            raise Refusal("it runs several times in a forward pass")
        try:
            return {"into": self._before(site), "side": "before"}
        except Refusal as before:
            try:
                return {"into": self._behind(site), "side": "behind"}
            except Refusal as behind:
                raise Refusal(f"{before}; and {behind}") from None

    def _before(self, site: Site) -> str:
        step = _single(site.producers(), "what stands before it")
        path = plain_map(site, step, "before it", _MAPS)
        target = submodule(site.model, path)
        # The channels are the axis behind the batch: that of a linear layer's outputs only where these are (B, C), that
        # of a convolution's only where they have a batch. Sizes alone do not tell, as (B, L, C) may have L = C.
        misplaced = any(len(shape) != target.weight.ndim for shape in step.shapes)
        if misplaced or (isinstance(target, nn.Linear) and target.out_features != site.module.num_features):
            raise Refusal(f"before it stands {path}, whose outputs are another axis than its channels")
        assert site.flow is not None
        if len(site.flow.followers(path)) != 1:
            raise Refusal(f"the output of {path} before it is read elsewhere as well")
        return path

    def _behind(self, site: Site) -> str:
        step = _single(site.followers(), "what reads it")
        # A convolution pads with zeros, where the BatchNorm's shift would have to stand: linear layers alone are exact.
        path = plain_map(site, step, "behind it", (nn.Linear,))
        target = submodule(site.model, path)
        assert site.flow is not None
        (call,) = site.flow.calls(site.path)
        misplaced = any(len(shape) != 2 for shape in call.shapes)  # see above
        if misplaced or not isinstance(site.module, nn.BatchNorm1d) or target.in_features != site.module.num_features:
            raise Refusal("a linear layer behind it mixes other axes than its channels")
        return path

    def replacement(self, site: Site, pairs: Pairs | None) -> nn.Module:
        """Fold, and leave an `nn.Identity`."""
        if site.details["side"] == "readers":
            _fold_into_readers(site)
            return nn.Identity()
        norm, path = site.module, str(site.details["into"])
        target = submodule(site.model, path)
        assert isinstance(norm, _BatchNorm)
        scale, shift = affine_of(norm)
        if site.details["side"] == "before":
            _fold_behind_map(target, scale, shift)
        else:
            _fold_before_linear(target, scale, shift)
        site.note(path, target, f"{type(target).__name__} with {site.path} folded in", "one map in place of two")
        return nn.Identity()


def _states_its_scale(module: nn.Module) -> bool:
    return callable(getattr(module, "scale_and_shift", None))


def _readers(site: Site) -> list[list[Any]]:
    norm: Any = site.module
    if norm.training:
        raise Refusal("it is in training mode, where its statistics are the batches': call model.eval() first")
    if getattr(norm, "channel_dim", -1) != -1:
        raise Refusal("its channels are not the last axis, which is what a linear map reads")
    try:
        scale, _ = norm.scale_and_shift()
    except ValueError as error:
        raise Refusal(str(error)) from None
    return readers(site, len(scale))


def _fold_into_readers(site: Site) -> None:
    norm: Any = site.module
    scale, shift = norm.scale_and_shift()
    for path, inputs in site.details["into"]:
        target = submodule(site.model, path)
        fold_into_reader(target, inputs, scale, shift)
        site.note(path, target, f"{type(target).__name__} with {site.path} folded in", "its norm costs nothing now")


def affine_of(norm: _BatchNorm) -> tuple[Float[Tensor, " channels"], Float[Tensor, " channels"]]:
    """Scale a and shift c of a BatchNorm in evaluation, y = a x + c, in float64."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.detach().double()
    shift = -norm.running_mean.double() * scale
    if norm.bias is not None:
        shift = shift + norm.bias.detach().double()
    return scale, shift


def _single(steps: list[Step], what: str) -> Step:
    if len(steps) != 1:
        names = ", ".join(step.path or step.name for step in steps) or "nothing"
        raise Refusal(f"{what} is not one module but {names}")
    return steps[0]


@torch.no_grad()
def _fold_behind_map(target: Any, scale: Tensor, shift: Tensor) -> None:
    weight = target.weight
    wide = weight.double()
    if isinstance(target, _ConvTransposeNd):  # (inputs, outputs of a group, …): input channels are sorted by group
        per_group = scale.view(target.groups, 1, -1)
        grouped = wide.view(target.groups, -1, *wide.shape[1:])
        weight.copy_((grouped * per_group.view(*per_group.shape, *[1] * (wide.ndim - 2))).view_as(wide))
    else:
        weight.copy_(wide * scale.view(-1, *[1] * (wide.ndim - 1)))
    set_bias(target, shift if target.bias is None else target.bias.double() * scale + shift)


@torch.no_grad()
def _fold_before_linear(target: Any, scale: Tensor, shift: Tensor) -> None:
    weight = target.weight
    wide = weight.double()
    set_bias(target, wide @ shift + (0.0 if target.bias is None else target.bias.double()))
    weight.copy_(wide * scale)
