"""Self-attention that reads and writes the first d − 1 entries of a zero-mean stream."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["CompressedSelfAttention"]

Mask = Float[Tensor, "..."] | Bool[Tensor, "..."]


class CompressedSelfAttention(nn.Module):
    """softmax(q kᵀ/√(d/h) + mask) v with q, k, v (d entries in h heads) read from d − 1 entries, and d − 1 written.

    Parameters have the names of `nn.MultiheadAttention`: `in_proj_weight` (3d, d − 1), `in_proj_bias` (3d,),
    `out_proj.weight` (d − 1, d), `out_proj.bias` (d − 1,).

    Args:
        attention: the `nn.MultiheadAttention` whose parameters, already compressed, are taken over.

    Shape:
        (B, L, d − 1) with `batch_first`, (L, B, d − 1) without, or (L, d − 1); to the same.
    """

    _qkv_same_embed_dim = False
    in_proj_bias: nn.Parameter | None

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self.embed_dim, self.num_heads = attention.embed_dim, attention.num_heads
        self.dropout, self.batch_first = attention.dropout, attention.batch_first
        self.in_proj_weight = attention.in_proj_weight
        self.register_parameter("in_proj_bias", attention.in_proj_bias)
        self.out_proj = attention.out_proj

    def forward(
        self,
        query: Float[Tensor, "*batch compressed"],
        key: Float[Tensor, "*batch compressed"],
        value: Float[Tensor, "*batch compressed"],
        key_padding_mask: Mask | None = None,
        need_weights: bool = False,
        attn_mask: Mask | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Float[Tensor, "*batch compressed"], None]:
        """The attention's output; masks as in `nn.MultiheadAttention` (True, or −∞, is not read).

        Raises:
            ValueError: query, key and value are not one tensor, or the weights are asked for.
        """
        if not (query is key and key is value) or need_weights:
            raise ValueError("CompressedSelfAttention is self-attention without weights: query is key is value")
        batched = query.ndim == 3
        x = query if batched else query[None]
        if batched and not self.batch_first:
            x = x.transpose(0, 1)
        q, k, v = (self._heads(part) for part in F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, -1))
        mask = self._mask(attn_mask, key_padding_mask, q)
        p = self.dropout if self.training else 0.0
        out = F.scaled_dot_product_attention(q, k, v, mask, p, is_causal=is_causal and mask is None)
        out = self.out_proj(out.transpose(1, 2).flatten(2))
        if not batched:
            return out[0], None
        return (out if self.batch_first else out.transpose(0, 1)), None

    def _heads(self, x: Float[Tensor, "batch length dim"]) -> Float[Tensor, "batch heads length head"]:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def _mask(self, attn_mask: Tensor | None, padding: Tensor | None, q: Tensor) -> Tensor | None:
        """Both masks as one that is added: (B or 1, h or 1, L, L)."""
        merged: Tensor | None = None
        if attn_mask is not None:
            merged = _additive(attn_mask, q)
            per_head = q.shape[:2]
            merged = merged[None, None] if merged.ndim == 2 else merged.unflatten(0, per_head)
        if padding is not None:
            keys = _additive(padding, q).reshape(q.shape[0], 1, 1, -1)
            merged = keys if merged is None else merged + keys
        return merged

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.embed_dim - 1} of {self.embed_dim}, num_heads={self.num_heads}, batch_first={self.batch_first}"


def _additive(mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(like.dtype)
    return torch.zeros(mask.shape, dtype=like.dtype, device=mask.device).masked_fill(mask, -math.inf)
