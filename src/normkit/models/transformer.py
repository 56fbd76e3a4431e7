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
from jaxtyping import Float, Int
from torch import Tensor, nn

from normkit.models._placement import PLACEMENTS, Norm, norm_factory
from normkit.models.transformer_encoder_layer import TransformerEncoderLayer

__all__ = ["PLACEMENTS", "Transformer"]


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
        qk_norm: whether queries and keys are normalised too (`QKNormAttention`).
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
        qk_norm: bool = False,
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
        make = norm_factory(norm, eps, bias, where)
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
                qk_norm=qk_norm,
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


def _initialize(model: nn.Module, std: float) -> None:
    """Matrices from N(0, std²) and biases 0, as GPT-2; norms keep theirs."""
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            nn.init.normal_(parameter, std=std)
        elif name.endswith("bias") and "norm" not in name:
            nn.init.zeros_(parameter)
