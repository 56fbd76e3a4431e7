"""Attention whose queries and keys are normalised before they meet, so that no logit grows with their lengths."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from normkit.models._placement import Mask

__all__ = ["QKNormAttention", "self_attention"]


class QKNormAttention(nn.MultiheadAttention):
    """q = norm_q(W_q x + b_q), k = norm_k(W_k x + b_k), each over its whole width, then attention in heads as ever.

    Parameters have the names of `nn.MultiheadAttention`, with `q_norm` and `k_norm` beside them. Source: OLMo 2
    (2025), arXiv:2501.00656, section 3.3.2, which has it together with norms at the sub-layers' outputs.

    Shapes: (N, L, embed_dim) with `batch_first=True`, else (L, N, embed_dim); or (L, embed_dim); to the query's.

    Args:
        embed_dim: width of query, key and value.
        num_heads: heads.
        norm: factory from a width to a module.
        dropout: share of the attention weights dropped in training.
        bias: whether the maps have biases.
        batch_first: whether the batch comes before the length.
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        ValueError: `num_heads` does not divide `embed_dim`; in forward, the weights are asked for.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        norm: Callable[[int], nn.Module],
        dropout: float = 0.0,
        bias: bool = True,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        _check_heads(embed_dim, num_heads)
        super().__init__(embed_dim, num_heads, dropout, bias, batch_first=batch_first, device=device, dtype=dtype)
        self.q_norm, self.k_norm = norm(embed_dim), norm(embed_dim)

    def forward(
        self,
        query: Float[Tensor, "*query embed_dim"],
        key: Float[Tensor, "... embed_dim"],
        value: Float[Tensor, "... embed_dim"],
        key_padding_mask: Mask | None = None,
        need_weights: bool = False,
        attn_mask: Mask | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Float[Tensor, "*query embed_dim"], None]:
        """The attention's output; masks as in `nn.MultiheadAttention` (True, or −∞, is not read)."""
        if need_weights:
            raise ValueError("QKNormAttention does not keep its weights: pass need_weights=False")
        inputs = (self._batch_first(x) for x in (query, key, value))
        biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        maps = zip(inputs, self.in_proj_weight.chunk(3), biases, strict=True)
        q, k, v = (F.linear(x, weight, bias) for x, weight, bias in maps)
        q, k, v = (self._heads(x) for x in (self.q_norm(q), self.k_norm(k), v))
        mask = self._mask(attn_mask, key_padding_mask, q)
        dropout = self.dropout if self.training else 0.0
        out = F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal=is_causal and mask is None)
        out = self.out_proj(out.transpose(1, 2).flatten(2))
        if query.ndim == 2:
            return out[0], None
        return (out if self.batch_first else out.transpose(0, 1)), None

    def _batch_first(self, x: Tensor) -> Tensor:
        if x.ndim == 2:
            return x[None]
        return x if self.batch_first else x.transpose(0, 1)

    def _heads(self, x: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch heads length head"]:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def _mask(self, attn_mask: Tensor | None, padding: Tensor | None, q: Tensor) -> Tensor | None:
        """Both masks as one that is added: (N or 1, heads or 1, L or 1, S)."""
        merged: Tensor | None = None
        if attn_mask is not None:
            merged = _additive(attn_mask, q)
            merged = merged[None, None] if merged.ndim == 2 else merged.unflatten(0, (q.shape[0], -1))
        if padding is not None:
            keys = _additive(padding, q).reshape(q.shape[0], 1, 1, -1)
            merged = keys if merged is None else merged + keys
        return merged


def self_attention(
    d_model: int, nhead: int, norm: Callable[[int], nn.Module] | None, **options: Any
) -> nn.MultiheadAttention:
    """Torch's attention, or with a `norm` for queries and keys the one above.

    Raises:
        ValueError: `nhead` does not divide `d_model`.
    """
    _check_heads(d_model, nhead)
    return (
        nn.MultiheadAttention(d_model, nhead, **options)
        if norm is None
        else QKNormAttention(d_model, nhead, norm, **options)
    )


def _check_heads(d_model: int, nhead: int) -> None:
    if nhead < 1 or d_model % nhead:
        raise ValueError(f"d_model is {d_model} and nhead {nhead}: the heads must divide the width")


def _additive(mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(like.dtype)
    return torch.zeros(mask.shape, dtype=like.dtype, device=mask.device).masked_fill(mask, -math.inf)
