"""Zero-mean vectors: make a map write them, and leave their last entry out where it is written and read.

With C = I − 11ᵀ/d the writers of a residual stream of width d become C W, and a LayerNorm that reads it an RMSNorm.
The first d − 1 entries of a zero-mean vector determine it, x_d = −Σ x_j, so that a writer may keep d − 1 of its rows,
and a reader W becomes W[:, :d−1] − W[:, d−1].

Source: Jiang et al. 2023, "Pre-RMSNorm and Pre-CRMSNorm Transformers", arXiv:2305.14858, sections 3.1 and 3.2.
"""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["compress_reader", "compress_writer", "recentre"]


def recentre(weight: Float[Tensor, "*shape"], dim: int = 0) -> Float[Tensor, "*shape"]:
    """`weight` minus its mean along `dim`, the axis of the stream (0 for `nn.Linear`, −1 for a table of vectors).

    Computed in float32 or wider, returned in the weight's dtype.
    """
    wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
    return (wide - wide.mean(dim, keepdim=True)).to(weight.dtype)


def compress_writer(weight: Float[Tensor, "..."], dim: int = 0) -> Float[Tensor, "..."]:
    """`weight`, recentred along `dim`, the axis of the stream, without its last entry there: d − 1 of d remain.

    Raises:
        ValueError: the stream has less than two entries.
    """
    width = _width(weight, dim)
    return recentre(weight, dim).narrow(dim, 0, width - 1)


def compress_reader(weight: Float[Tensor, "..."], dim: int = -1) -> Float[Tensor, "..."]:
    """What a reader must be to give the same from d − 1 entries of a zero-mean stream: W[:, :d−1] − W[:, d−1:].

    `dim` is the axis of the stream (−1 for `nn.Linear`). The gain of the norm in front must be folded in before.

    Raises:
        ValueError: the stream has less than two entries.
    """
    width = _width(weight, dim)
    wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
    return (wide.narrow(dim, 0, width - 1) - wide.narrow(dim, width - 1, 1)).to(weight.dtype)


def _width(weight: Tensor, dim: int) -> int:
    width = weight.shape[dim]
    if width < 2:
        raise ValueError(f"a zero-mean stream needs two entries or more, got a weight of shape {tuple(weight.shape)}")
    return width
