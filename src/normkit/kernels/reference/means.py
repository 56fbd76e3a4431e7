"""Means of channels over the positions of a batch, of this process or of all ranks whose batches are one."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Reduce", "mean"]

Channels = Float[Tensor, " channels"]
Reduce = Callable[[Tensor], Tensor]
"""Adds a tensor up over the ranks whose batches are one."""


def mean(total: Channels, count: int | Tensor, reduce: Reduce | None) -> Channels:
    """Total over count, of this process or of all ranks that `reduce` adds up."""
    if reduce is None:
        return total / count
    joint = reduce(torch.cat([total, torch.ones_like(total[:1]) * count]))
    return joint[:-1] / joint[-1]
