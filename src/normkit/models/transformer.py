"""Transformers whose norms stand where you say: before, after, on both sides of a sub-layer, or at its output.

With M a sub-layer (attention or MLP; each has its own norms) and x the stream:

| placement | sub-layer                      | final norm |
|-----------|--------------------------------|------------|
| post      | x ← norm(x + M(x))             | no         |
| pre       | x ← x + M(norm(x))             | yes        |
| peri      | x ← x + norm_out(M(norm(x)))   | yes        |
| output    | x ← x + norm_out(M(x))         | yes        |

The output norm of "peri" and "output" stands inside the branch, before the sum: with M ≡ 0 the stream passes
unchanged. Sources: Vaswani et al. (2017), arXiv:1706.03762 (post); Xiong et al. (2020), arXiv:2002.04745 (pre);
Kim et al. (2025), Peri-LN, arXiv:2502.02732 (peri); OLMo 2 (2025), arXiv:2501.00656 (output).
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from normkit.nn import LayerNorm, RMSNorm

__all__ = ["PLACEMENTS", "Transformer", "TransformerEncoderLayer"]

PLACEMENTS = ("pre", "post", "peri", "output")
Norm = str | Callable[[int], nn.Module]
Stream = Float[Tensor, "*batch length d_model"]
Mask = Float[Tensor, "..."] | Bool[Tensor, "..."]

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu}


class TransformerEncoderLayer(nn.Module):
    """Self-attention and MLP with the norms placed by `placement`; the other arguments are `torch.nn`'s.

    Equations: the module's table. Dropout acts on the output of the output norm where there is one. Parameters have
    torch's names (`self_attn`, `linear1`, `linear2`, `norm1`, `norm2`); the output norms are `norm1_out`, `norm2_out`.
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
    ) -> None:
        super().__init__()
        _check(placement, d_model, nhead)
        self.placement = placement
        self.activation = _activation(activation)
        where: dict[str, Any] = {"device": device, "dtype": dtype}
        self.self_attn = nn.MultiheadAttention(
            d_model, nhead, dropout=dropout, bias=bias, batch_first=batch_first, **where
        )
        self.linear1 = nn.Linear(d_model, dim_feedforward, bias=bias, **where)
        self.linear2 = nn.Linear(dim_feedforward, d_model, bias=bias, **where)
        self.dropout = nn.Dropout(dropout)
        self.dropout1 = nn.Dropout(dropout)
        self.dropout2 = nn.Dropout(dropout)
        make = _norm_factory(norm, layer_norm_eps, bias, where)
        if placement != "output":
            self.norm1, self.norm2 = make(d_model), make(d_model)
        if placement in ("peri", "output"):
            self.norm1_out, self.norm2_out = make(d_model), make(d_model)

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

        if self.placement == "post":
            x = self.norm1(src + self.dropout1(attend(src)))
            return self.norm2(x + self.dropout2(self._mlp(x)))
        if self.placement == "pre":
            x = src + self.dropout1(attend(self.norm1(src)))
            return x + self.dropout2(self._mlp(self.norm2(x)))
        if self.placement == "peri":
            x = src + self.dropout1(self.norm1_out(attend(self.norm1(src))))
            return x + self.dropout2(self.norm2_out(self._mlp(self.norm2(x))))
        x = src + self.dropout1(self.norm1_out(attend(src)))
        return x + self.dropout2(self.norm2_out(self._mlp(x)))

    def _mlp(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))

    def extra_repr(self) -> str:
        """The placement, beside the sub-modules that torch prints."""
        return f"placement={self.placement!r}"


class Transformer(nn.Module):
    """Token embedding (+ positions), `num_layers` layers, a final norm where the placement wants one, a linear head.

    With `causal=True` a language model: the logits at a position depend on it and those before it. The sizes are the
    user's; Peri-LN (Kim et al. 2025, arXiv:2502.02732) trains 400M to 3.2B parameters, this project's experiments use
    d_model 48, 6 layers, 4 heads, context 48.

    Shapes: tokens (N, L) int64 in 0 … vocab_size − 1, L ≤ max_length with learned positions; logits
    (N, L, vocab_size).

    Args:
        vocab_size: number of tokens.
        d_model: width of the stream.
        nhead: heads of attention.
        num_layers: layers (two sub-layers each).
        dim_feedforward: width inside the MLP; default 4·d_model.
        dropout: as in the layer.
        activation: as in the layer.
        placement: "pre", "post", "peri" or "output".
        norm: "layer", "rms", or a factory from a width to a module.
        eps: ε of all norms.
        embed_norm: whether the embedding stage ends in a norm.
        positions: "learned" or "none".
        max_length: longest sequence with learned positions.
        causal: whether a position sees only itself and those before it.
        bias: whether the linear maps and LayerNorm have biases.
        init_std: standard deviation of the embeddings and of every matrix at the start (0.02 is GPT-2's); None keeps
            torch's own initial values.
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        ValueError: as the layer; unknown `positions`; in forward, a sequence longer than `max_length`.
    """

    def __init__(
        self,
        vocab_size: int,
        d_model: int,
        nhead: int,
        num_layers: int,
        dim_feedforward: int | None = None,
        dropout: float = 0.0,
        activation: str | Callable[[Tensor], Tensor] = "relu",
        *,
        placement: str = "pre",
        norm: Norm = "layer",
        eps: float = 1e-5,
        embed_norm: bool = False,
        positions: str = "learned",
        max_length: int = 1024,
        causal: bool = True,
        bias: bool = True,
        init_std: float | None = 0.02,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if positions not in ("learned", "none"):
            raise ValueError(f"positions is {positions!r}: it must be 'learned' or 'none'")
        where: dict[str, Any] = {"device": device, "dtype": dtype}
        make = _norm_factory(norm, eps, bias, where)
        self.causal = causal
        self.embed = nn.Embedding(vocab_size, d_model, **where)
        self.position = nn.Embedding(max_length, d_model, **where) if positions == "learned" else None
        self.embed_norm = make(d_model) if embed_norm else None
        self.layers = nn.ModuleList(
            TransformerEncoderLayer(
                d_model,
                nhead,
                dim_feedforward or 4 * d_model,
                dropout,
                activation,
                eps,
                True,
                bias,
                placement=placement,
                norm=norm,
                **where,
            )
            for _ in range(num_layers)
        )
        self.final_norm = make(d_model) if placement != "post" else None
        self.head = nn.Linear(d_model, vocab_size, bias=False, **where)
        if init_std is not None:
            _initialize(self, init_std)

    def forward(self, tokens: Int[Tensor, "batch length"]) -> Float[Tensor, "batch length vocab"]:
        """Logits for each position of a batch of token sequences."""
        x = self.embedded(tokens)
        length = tokens.shape[1]
        mask = None
        if self.causal:
            mask = nn.Transformer.generate_square_subsequent_mask(length, x.device, x.dtype)
        for layer in self.layers:
            x = layer(x, mask, is_causal=self.causal)
        return self.head(x if self.final_norm is None else self.final_norm(x))

    def embedded(self, tokens: Int[Tensor, "batch length"]) -> Float[Tensor, "batch length d_model"]:
        """The stream as it enters the first layer."""
        x = self.embed(tokens)
        if self.position is not None:
            length = tokens.shape[1]
            if length > self.position.num_embeddings:
                raise ValueError(
                    f"the sequence has {length} tokens and the model {self.position.num_embeddings} positions: "
                    "pass a larger max_length, or positions='none'"
                )
            x = x + self.position.weight[:length]
        return x if self.embed_norm is None else self.embed_norm(x)


def _check(placement: str, d_model: int, nhead: int) -> None:
    if placement not in PLACEMENTS:
        raise ValueError(f"placement is {placement!r}: it must be one of {', '.join(PLACEMENTS)}")
    if nhead < 1 or d_model % nhead:
        raise ValueError(f"d_model is {d_model} and nhead {nhead}: the heads must divide the width")


def _activation(activation: str | Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    if callable(activation):
        return activation
    if activation not in _ACTIVATIONS:
        raise ValueError(f"activation is {activation!r}: it must be one of {', '.join(_ACTIVATIONS)}, or a function")
    return _ACTIVATIONS[activation]


def _norm_factory(norm: Norm, eps: float, bias: bool, where: dict[str, Any]) -> Callable[[int], nn.Module]:
    if callable(norm):
        return norm
    if norm == "layer":
        return lambda width: LayerNorm(width, eps=eps, bias=bias, **where)
    if norm == "rms":
        return lambda width: RMSNorm(width, eps=eps, **where)
    raise ValueError(f"norm is {norm!r}: it must be 'layer', 'rms', or a factory from a width to a module")


def _initialize(model: nn.Module, std: float) -> None:
    """Matrices from N(0, std²) and biases 0, as GPT-2; norms keep theirs."""
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            nn.init.normal_(parameter, std=std)
        elif name.endswith("bias") and "norm" not in name:
            nn.init.zeros_(parameter)
