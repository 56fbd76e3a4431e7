"""A training step (loss and all gradients) of a small GPT-2, with normkit's functions and with torch's.

Pre-norm blocks with attention written out (a softmax of scores, as Hugging Face's "eager" attention has it), GELU, a
vocabulary of 8192 and cross-entropy. The two steps differ in softmax, cross_entropy and layer_norm only. The
optimizer's step is the same on both sides and left out.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from normkit import functional as F
from normkit.benchmarks._harness.gpu_scenes import on_gpu
from normkit.benchmarks._harness.suite import Inputs, Peer, Suite

__all__ = ["suite"]

_WIDTH, _HEADS, _LAYERS, _VOCABULARY = 256, 4, 4, 8192
_PER_LAYER = 6


class _Functions(NamedTuple):
    softmax: Callable[..., Tensor]
    cross_entropy: Callable[..., Tensor]
    layer_norm: Callable[..., Any]


_OURS = _Functions(F.softmax, F.cross_entropy, F.layer_norm)
_TORCH = _Functions(torch.softmax, torch.nn.functional.cross_entropy, torch.nn.functional.layer_norm)


def _inputs(shape: tuple[int, ...], generator: torch.Generator) -> Inputs:
    """Token ids (batch, length + 1), embedding of tokens and places, and six tensors a layer."""

    def weights(*size: int) -> Tensor:
        return torch.randn(size, generator=generator) * 0.02

    tokens = torch.randint(_VOCABULARY, (shape[0], shape[1] + 1), generator=generator)
    layers = [
        tensor
        for _ in range(_LAYERS)
        for tensor in (
            1 + weights(2, _WIDTH),
            weights(2, _WIDTH),
            weights(3 * _WIDTH, _WIDTH),
            weights(_WIDTH, _WIDTH),
            weights(4 * _WIDTH, _WIDTH),
            weights(_WIDTH, 4 * _WIDTH),
        )
    ]
    return (tokens, weights(_VOCABULARY, _WIDTH), weights(shape[1], _WIDTH), *layers)


def _attention(
    x: Float[Tensor, "b t d"], qkv: Float[Tensor, "3*d d"], proj: Float[Tensor, "d d"], use: _Functions
) -> Float[Tensor, "b t d"]:
    batch, length, _ = x.shape
    query, key, value = (x @ qkv.T).view(batch, length, 3, _HEADS, -1).permute(2, 0, 3, 1, 4)
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    future = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
    mixed = use.softmax(scores.masked_fill(future, -math.inf), -1) @ value
    return mixed.transpose(1, 2).reshape(x.shape) @ proj.T


def _loss(use: _Functions, tokens: Int[Tensor, "b t1"], *weights: Tensor) -> Float[Tensor, ""]:
    embedding, places, *layers = weights
    x = embedding[tokens[:, :-1]] + places
    for start in range(0, len(layers), _PER_LAYER):
        gain, shift, qkv, proj, up, down = layers[start : start + _PER_LAYER]
        x = x + _attention(use.layer_norm(x, (_WIDTH,), gain[0], shift[0]), qkv, proj, use)
        hidden = torch.nn.functional.gelu(use.layer_norm(x, (_WIDTH,), gain[1], shift[1]) @ up.T)
        x = x + hidden @ down.T
    return use.cross_entropy((x @ embedding.T).flatten(0, 1), tokens[:, 1:].flatten())


def _ours(tokens: Int[Tensor, "b t1"], *weights: Tensor) -> Float[Tensor, ""]:
    return _loss(_OURS, tokens, *weights)


def _torch(tokens: Int[Tensor, "b t1"], *weights: Tensor) -> Float[Tensor, ""]:
    return _loss(_TORCH, tokens, *weights)


suite = Suite(
    op="gpt2_step",
    family="step",
    public=_ours,
    reference=_torch,
    peers=(Peer("torch", _torch),),
    inputs=_inputs,
    shapes=(),
    user_shapes=((4, 128),),
    on_gpu=(on_gpu((16, 512), "fwd+bwd"),),
    quick_shapes=((1, 16),),
    most_gradient_ulp=4096.0,  # a whole network in float32 against float64: 0.05 % of the largest entry
    bytes_forward=None,
    bytes_backward=None,
    forward=False,
)
