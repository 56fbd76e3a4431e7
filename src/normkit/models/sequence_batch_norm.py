"""Batch normalisation where a transformer has its norms: over batch and positions, one statistic a channel."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["SequenceBatchNorm"]


class SequenceBatchNorm(nn.Module):
    """`torch.nn.BatchNorm1d` (at `norm`) between two transpositions: (N, L, C) → the same; a factory for `Transformer`.

    What PowerNorm and UnifiedNorm are compared with, and how time-series transformers have it (PatchTST).

    Args:
        num_features: C, channels.
        eps, momentum: as of `torch.nn.BatchNorm1d`.
        device, dtype: of the parameters.

    Raises:
        ValueError: in the call, as `torch.nn.BatchNorm1d` does.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(num_features, eps, momentum, device=device, dtype=dtype)

    def forward(self, x: Float[Tensor, "batch length channels"]) -> Float[Tensor, "batch length channels"]:
        """Normalise each channel over batch and length."""
        return self.norm(x.transpose(1, 2)).transpose(1, 2)
