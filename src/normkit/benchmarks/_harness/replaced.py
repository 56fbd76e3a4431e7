"""What a network pays for the norms that others would replace: peers that compute another function."""

import torch
from jaxtyping import Float
from torch import Tensor

from normkit.benchmarks._harness.suite import Peer

__all__ = ["replaced_norms"]

Rows = Float[Tensor, "*rows c"]
Channels = Float[Tensor, " c"]


def replaced_norms() -> tuple[Peer, ...]:
    """torch's layer norm and batch norm of (…, channels) with a weight and a bias."""
    return Peer("layer_norm", _layer_norm, same=False), Peer("batch_norm", _batch_norm, same=False)


def _layer_norm(x: Rows, weight: Channels, bias: Channels) -> Rows:
    return torch.nn.functional.layer_norm(x, weight.shape, weight, bias)


def _batch_norm(x: Rows, weight: Channels, bias: Channels) -> Rows:
    flat = x.reshape(-1, x.shape[-1])
    return torch.nn.functional.batch_norm(flat, None, None, weight, bias, training=True).view(x.shape)
