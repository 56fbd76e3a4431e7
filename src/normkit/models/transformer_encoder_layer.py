"""An encoder layer whose norms stand where you say: before, after, on both sides of a sub-layer, or at its output."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from normkit.models._placement import Mask, Norm, activation_of, add_branch, norm_factory, norm_pair
from normkit.models.qk_norm_attention import self_attention

__all__ = ["TransformerEncoderLayer"]

Stream = Float[Tensor, "*batch length d_model"]


class TransformerEncoderLayer(nn.Module):
    """Self-attention and MLP with the norms placed by `placement`; the other arguments are `torch.nn`'s.

    Equations: the table of `normkit.models.Transformer`. Dropout acts on the output of the output norm where there is
    one. Parameters have torch's names (`self_attn`, `linear1`, `linear2`, `norm1`, `norm2`); the output norms are
    `norm1_out`, `norm2_out`.
    "post" is `torch.nn.TransformerEncoderLayer(norm_first=False)`, "pre" is `norm_first=True`.

    Shapes: (N, L, d_model) with `batch_first=True`, else (L, N, d_model); or (L, d_model); to the same.

    Args:
        d_model: width of the stream.
        nhead: heads of attention.
        dim_feedforward: width inside the MLP.
        dropout: share dropped in attention, in the MLP and at each sub-layer's end.
        activation: "relu", "gelu", or a function of a tensor.
        layer_norm_eps: ε of all norms.
        batch_first: whether the batch comes before the length.
        bias: whether the linear maps and LayerNorm have biases.
        placement: "pre", "post", "peri" or "output".
        norm: "layer", "rms", or a factory from a width to a module.
        qk_norm: whether queries and keys are normalised too (`QKNormAttention`), as OLMo 2 does beside "output".
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        ValueError: unknown placement, norm or activation, or `nhead` does not divide `d_model`.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        placement: str = "pre",
        norm: Norm = "layer",
        qk_norm: bool = False,
    ) -> None:
        super().__init__()
        self.placement = placement
        self.activation = activation_of(activation)
        where: dict[str, Any] = {"device": device, "dtype": dtype}
        make = norm_factory(norm, layer_norm_eps, bias, where)
        options: dict[str, Any] = {"dropout": dropout, "bias": bias, "batch_first": batch_first, **where}
        self.self_attn = self_attention(d_model, nhead, make if qk_norm else None, **options)
        self.linear1 = nn.Linear(d_model, dim_feedforward, bias=bias, **where)
        self.linear2 = nn.Linear(dim_feedforward, d_model, bias=bias, **where)
        self.dropout = nn.Dropout(dropout)
        self.dropout1 = nn.Dropout(dropout)
        self.dropout2 = nn.Dropout(dropout)
        self.norm1, self.norm1_out = norm_pair(placement, lambda: make(d_model))
        self.norm2, self.norm2_out = norm_pair(placement, lambda: make(d_model))

    def forward(
        self,
        src: Stream,
        src_mask: Mask | None = None,
        src_key_padding_mask: Mask | None = None,
        is_causal: bool = False,
    ) -> Stream:
        """The layer's output; masks as in `torch.nn.TransformerEncoderLayer`."""

        def attend(x: Tensor) -> Tensor:
            return self.self_attn(
                x,
                x,
                x,
                attn_mask=src_mask,
                key_padding_mask=src_key_padding_mask,
                need_weights=False,
                is_causal=is_causal and src_mask is not None,
            )[0]

        x = add_branch(self.placement, src, attend, (self.norm1, self.norm1_out), self.dropout1)
        return add_branch(self.placement, x, self._mlp, (self.norm2, self.norm2_out), self.dropout2)

    def _mlp(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))

    def extra_repr(self) -> str:
        """The placement, beside the sub-modules that torch prints."""
        return f"placement={self.placement!r}"
