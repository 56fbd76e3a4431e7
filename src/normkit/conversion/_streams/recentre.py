"""Recentre the writers of a stream and make its LayerNorms RMSNorms: the same function, without a mean.

With C = I − 11ᵀ/d: W_o ← C W_o and b_o ← C b_o for every writer, C on every row of an embedding table. The stream then
has zero mean after every sum, and LayerNorm of a zero-mean vector is RMSNorm with the same ε.

Source: Jiang et al. 2023, arXiv:2305.14858, section 3.1.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from normkit.conversion._framework.rule import Site
from normkit.conversion._streams.stack import Map, Scale, Stack, assign, parameter
from normkit.nn import RMSNorm
from normkit.surgery import close_fast_path, replace, submodule, ties
from normkit.surgery import recentre as centred
from normkit.weights import zero_mean_output

__all__ = ["RecentredDropout", "recentre", "recentre_writers"]


class RecentredDropout(nn.Dropout):
    """Dropout, then the mean taken out again: what it drops would leave the stream with one. Nothing in evaluation."""

    def forward(self, input: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Drop entries of `input` and recentre the rest, in training mode."""
        dropped = super().forward(input)
        return centred(dropped, -1) if self.training and self.p > 0 else dropped


def recentre(site: Site, stack: Stack, tied: str, trainable: bool) -> nn.Module:
    """Turn the site's LayerNorms into RMSNorms; exact in evaluation."""
    recentre_writers(site, stack, trainable)
    _recentre_entry(site, stack, tied, trainable)
    for name in stack.norms:
        new = rms_norm(submodule(site.module, name))
        why = "a zero-mean stream needs no mean taken out; same ε, same weight and bias"
        site.note(site.inside(name), submodule(site.module, name), new, why)
        replace(site.module, name, new)
    for name in stack.dropouts:
        _recentre_dropout(site, name)
    close_fast_path(site.module)
    return site.module


def recentre_writers(site: Site, stack: Stack, trainable: bool = False) -> None:
    """W_o ← C W_o, b_o ← C b_o; once, or in every forward pass with free W_o and b_o. Layer scales are folded first."""
    for scale in stack.scales:
        _fold_scale(site, scale)
    for writer in stack.writers:
        _recentre_map(site, writer, trainable)
        why = "the mean of what it writes into the stream is taken out of its weights"
        site.note(f"{site.inside(writer.module)}.{writer.weight}", "weights", "recentred", why)


def _fold_scale(site: Site, scale: Scale) -> None:
    """W_o ← diag(λ) W_o, b_o ← λ b_o, λ ← 1: a vector without mean has one again after it is scaled."""
    holder, writer = submodule(site.module, scale.module), submodule(site.module, scale.writer.module)
    factor = holder.get_parameter(scale.name)
    weight = parameter(site, scale.writer, scale.writer.weight)
    bias = parameter(site, scale.writer, scale.writer.bias)
    assert weight is not None
    wide = weight.detach().double().movedim(scale.writer.axis, -1) * factor.detach().double()
    assign(writer, scale.writer.weight, wide.movedim(-1, scale.writer.axis), weight)
    if bias is not None:
        assign(writer, scale.writer.bias, bias.detach().double() * factor.detach().double(), bias)
    assign(holder, scale.name, torch.ones_like(factor), factor)
    why = "it stands in the weights of what it scales, whose mean could not be taken out behind it"
    site.note(f"{site.inside(scale.module)}.{scale.name}", "layer scale", "ones", why)


def rms_norm(norm: nn.Module) -> RMSNorm:
    """The RMSNorm that holds the parameters of a LayerNorm (the same objects)."""
    assert isinstance(norm, nn.LayerNorm)
    affine = norm.weight is not None
    new = RMSNorm(norm.normalized_shape, norm.eps, affine, bias=norm.bias is not None)
    if affine:
        new.weight = norm.weight
        new.bias = norm.bias
    return new


def _recentre_map(site: Site, entry: Map, trainable: bool) -> None:
    module = submodule(site.module, entry.module)
    if trainable:
        zero_mean_output(module, entry.axis)
        return
    weight, bias = parameter(site, entry, entry.weight), parameter(site, entry, entry.bias)
    assert weight is not None
    assign(module, entry.weight, centred(weight.detach().double(), entry.axis), weight)
    if bias is not None:
        assign(module, entry.bias, centred(bias.detach().double(), 0), bias)


def _recentre_entry(site: Site, stack: Stack, tied: str, trainable: bool) -> None:
    """Give the stream zero mean at its start: in the tables once, or at run time."""
    entry = site.inside(stack.entry)
    if not stack.tables or tied == "recentre":
        submodule(site.module, stack.entry).register_forward_pre_hook(_recentre_first)
        site.note(entry, "stream as it comes", "recentred", "the mean of the stream is taken out where it starts")
        return
    for table in stack.tables:
        _untie(site, table)
        _recentre_map(site, table, trainable)
        why = "each row's mean is taken out, so that the stream starts without one"
        site.note(f"{site.inside(table.module)}.{table.weight}", "table", "recentred", why)
    if stack.embedded:
        site.module.register_forward_pre_hook(_Embedded(stack.embedded), with_kwargs=True)


def _untie(site: Site, table: Map) -> None:
    """Leave the original table to whatever else uses it (the head), and a table of its own to the embedding."""
    own = f"{site.inside(table.module)}.{table.weight}"
    for names in ties(site.model):
        if own not in names:
            continue
        holder = submodule(site.module, table.module)
        weight = getattr(holder, table.weight)
        setattr(holder, table.weight, nn.Parameter(weight.detach().clone(), weight.requires_grad))
        for other in names:
            if other != own:
                why = f"it must keep the original table, {own} has the recentred one"
                site.note(other, f"tied to {own}", "untied", why)
        for module in (site.model, site.module):
            if getattr(getattr(module, "config", None), "tie_word_embeddings", False):
                _config(module).tie_word_embeddings = False


def _config(module: nn.Module) -> Any:
    return module.config


def _recentre_dropout(site: Site, name: str) -> None:
    old = submodule(site.module, name)
    if isinstance(old, nn.Dropout) and not isinstance(old, RecentredDropout) and old.p > 0:
        new = RecentredDropout(old.p, old.inplace)
        why = f"dropout (p = {old.p}) on a branch leaves a mean in training, which is taken out again"
        site.note(site.inside(name), old, new, why)
        replace(site.module, name, new)


def _recentre_first(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return (centred(args[0], -1), *args[1:])


class _Embedded:
    """Pre-hook: inputs that come embedded are recentred as the table's rows are."""

    def __init__(self, keyword: str) -> None:
        self.keyword = keyword

    def __call__(self, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
        given = kwargs.get(self.keyword)
        return None if given is None else (args, {**kwargs, self.keyword: centred(given, -1)})
