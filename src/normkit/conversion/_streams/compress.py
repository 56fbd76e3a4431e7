"""Carry d − 1 of the d entries of a zero-mean stream: the last one is minus the sum of the others.

Writers keep the first d − 1 rows of C W_o and C b_o. Readers, with γ and β of their norm folded in first
(W_i ← W_i diag(γ), b_i ← b_i + W_i β), become W_i[:, :d−1] − W_i[:, d−1:], since n_d = −Σ n_j. The final norm gives
all d entries back, with its γ and β, so whatever reads the stack's output reads what it did before.

Source: Jiang et al. 2023, arXiv:2305.14858, section 3.2.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from normkit.conversion._framework.rule import Site
from normkit.conversion._streams.attention import CompressedSelfAttention
from normkit.conversion._streams.recentre import recentre_writers
from normkit.conversion._streams.stack import Map, Reader, Stack, assign, parameter
from normkit.functional.crms_norm import crms_norm
from normkit.nn import CRMSNorm
from normkit.surgery import close_fast_path, compress_reader, recentre, replace, submodule

__all__ = ["ExpandedCRMSNorm", "compress"]


class ExpandedCRMSNorm(nn.Module):
    """y = γ ⊙ [n, −Σ n] + β with n = CRMSNorm(z): LayerNorm(x) of a stream of which z are the first d − 1 entries.

    Args:
        width: d.
        eps: ε, added to the mean square.
        elementwise_affine: whether there is γ (d,).
        bias: whether there is β (d,).
        device, dtype: of the parameters.

    Shape:
        (*, d − 1) → (*, d).
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(
        self,
        width: int,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.width, self.eps = width, eps
        gain = nn.Parameter(torch.ones(width, device=device, dtype=dtype)) if elementwise_affine else None
        shift = nn.Parameter(torch.zeros(width, device=device, dtype=dtype)) if elementwise_affine and bias else None
        self.register_parameter("weight", gain)
        self.register_parameter("bias", shift)

    def forward(self, input: Float[Tensor, "*batch compressed"]) -> Float[Tensor, "*batch width"]:
        """Normalise, and give the last entry back.

        In float32 or wider with one rounding at the end, as LayerNorm has it: the last entry would else hold the sum of
        the roundings of all others.
        """
        entries = crms_norm(input.to(torch.promote_types(input.dtype, torch.float32)), eps=self.eps)
        whole = torch.cat([entries, -entries.sum(-1, keepdim=True)], dim=-1)
        if self.weight is not None:
            whole = whole * self.weight
        if self.bias is not None:
            whole = whole + self.bias
        return whole.to(input.dtype if self.weight is None else torch.promote_types(input.dtype, self.weight.dtype))

    def extra_repr(self) -> str:
        """The options."""
        return (
            f"{self.width}, eps={self.eps}, elementwise_affine={self.weight is not None}, bias={self.bias is not None}"
        )


def compress(site: Site, stack: Stack) -> nn.Module:
    """Turn the site's LayerNorms into CRMSNorms over d − 1 entries; exact in evaluation."""
    recentre_writers(site, stack)
    for reader in stack.readers:
        _compress_reader(site, stack, reader)
    for writer in stack.writers:
        _drop_last_row(site, writer)
    for scale in stack.scales:
        holder = submodule(site.module, scale.module)
        factor = holder.get_parameter(scale.name)
        assign(holder, scale.name, factor.detach()[:-1], factor)
    _replace_attention(site, stack)
    _expand_final(site, stack)
    submodule(site.module, stack.entry).register_forward_pre_hook(_compress_first)
    why = "the stream is recentred where it starts, and its last entry, minus the sum of the others, is dropped"
    site.note(site.inside(stack.entry), f"stream of {stack.width}", f"stream of {stack.width - 1}", why)
    close_fast_path(site.module)
    return site.module


def _compress_reader(site: Site, stack: Stack, reader: Reader) -> None:
    norm = submodule(site.module, reader.norm)
    assert isinstance(norm, nn.LayerNorm)
    for entry in reader.maps:
        _fold_and_compress(site, entry, norm)
    new = CRMSNorm(stack.width - 1, norm.eps)
    why = "the last entry of the stream is not carried; γ and β stand in the weights of what reads the norm"
    site.note(site.inside(reader.norm), norm, new, why)
    replace(site.module, reader.norm, new)


def _fold_and_compress(site: Site, entry: Map, norm: nn.LayerNorm) -> None:
    module = submodule(site.module, entry.module)
    weight, bias = parameter(site, entry, entry.weight), parameter(site, entry, entry.bias)
    assert weight is not None
    wide = weight.detach().double().movedim(entry.axis, -1)  # (outputs, d)
    if norm.bias is not None:
        shift = wide @ norm.bias.detach().double()
        assign(module, entry.bias, shift if bias is None else bias.detach().double() + shift, weight)
    if norm.weight is not None:
        wide = wide * norm.weight.detach().double()
    narrow = compress_reader(wide).movedim(-1, entry.axis)
    assign(module, entry.weight, narrow, weight)
    _note_size(module, ("in_features", "nx"))
    site.note(f"{site.inside(entry.module)}.{entry.weight}", tuple(weight.shape), tuple(narrow.shape), _FOLDED)


_FOLDED = "it reads d − 1 entries, with γ and β of the norm before it folded in"


def _drop_last_row(site: Site, writer: Map) -> None:
    module = submodule(site.module, writer.module)
    weight, bias = parameter(site, writer, writer.weight), parameter(site, writer, writer.bias)
    assert weight is not None
    kept = weight.shape[writer.axis] - 1
    assign(module, writer.weight, weight.detach().narrow(writer.axis, 0, kept), weight)
    if bias is not None:
        assign(module, writer.bias, bias.detach()[:kept], bias)
    _note_size(module, ("out_features", "nf"))


def _note_size(module: nn.Module, names: tuple[str, ...]) -> None:
    """One less in the attribute by which the module states its size."""
    for name in names:
        if hasattr(module, name):
            setattr(module, name, getattr(module, name) - 1)


def _replace_attention(site: Site, stack: Stack) -> None:
    """`nn.MultiheadAttention` insists on equal widths inside and outside; one that does not takes its place."""
    for name in dict.fromkeys(entry.module for reader in stack.readers for entry in reader.maps):
        old = submodule(site.module, name)
        if isinstance(old, nn.MultiheadAttention):
            new = CompressedSelfAttention(old)
            site.note(site.inside(name), old, new, "reads and writes d − 1 entries; the heads stay as they were")
            replace(site.module, name, new)


def _expand_final(site: Site, stack: Stack) -> None:
    norm = submodule(site.module, stack.final)
    assert isinstance(norm, nn.LayerNorm)
    new = ExpandedCRMSNorm(stack.width, norm.eps, norm.weight is not None, norm.bias is not None)
    if norm.weight is not None:
        new.weight = norm.weight
        new.bias = norm.bias
    site.note(site.inside(stack.final), norm, new, "gives all d entries back to what reads the stack's output")
    replace(site.module, stack.final, new)


def _compress_first(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return (recentre(args[0], -1)[..., :-1], *args[1:])
