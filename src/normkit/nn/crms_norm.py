"""Compressed RMS normalisation: RMSNorm of a zero-mean vector of which the last entry is not stored.

    y = z / sqrt((Σ z² + (Σ z)²)/d + ε),   z = the first d − 1 entries of x, x_d = −Σ z

Source: Jiang et al. 2023, "Pre-RMSNorm and Pre-CRMSNorm Transformers", arXiv:2305.14858, section 3.
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from normkit.functional.crms_norm import crms_norm
from normkit.kernels.arguments import check_eps

__all__ = ["CRMSNorm"]


class CRMSNorm(nn.Module):
    """The first d − 1 entries of RMSNorm(x), from the first d − 1 entries of a zero-mean x.

    Args:
        compressed_dim: d − 1, the number of entries given.
        eps: ε, added to the mean square.
        elementwise_affine: whether there is a gain (d − 1,). In a converted network it is folded into the reader.
        device, dtype: of the gain.

    Shape:
        (*, d − 1) → the same.

    Raises:
        ValueError: `eps` < 0 or `compressed_dim` < 1; in the call, the input's last axis is not `compressed_dim`.
        TypeError: in the call, the input is no float tensor.
    """

    weight: nn.Parameter | None

    def __init__(
        self,
        compressed_dim: int,
        eps: float = 1e-5,
        elementwise_affine: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_eps("CRMSNorm", eps)
        if compressed_dim < 1:
            raise ValueError(f"CRMSNorm: compressed_dim must be at least 1, got {compressed_dim}")
        self.compressed_dim = compressed_dim
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        gain = nn.Parameter(torch.ones(compressed_dim, device=device, dtype=dtype)) if elementwise_affine else None
        self.register_parameter("weight", gain)

    def reset_parameters(self) -> None:
        """Gain 1."""
        if self.weight is not None:
            nn.init.ones_(self.weight)

    def forward(self, input: Shaped[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Normalise the last axis of `input`."""
        if input.shape[-1:] != (self.compressed_dim,):
            raise ValueError(
                f"CRMSNorm: the last axis must hold the first {self.compressed_dim} entries of a zero-mean vector of "
                f"{self.compressed_dim + 1}, got an input of shape {tuple(input.shape)}"
            )
        return crms_norm(input, self.weight, self.eps)

    def extra_repr(self) -> str:
        """The options."""
        return f"{self.compressed_dim}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
