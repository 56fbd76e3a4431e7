"""Means of channels over the positions of a batch, of this process or of all ranks whose batches are one."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from normkit.kernels.dispatch import tracing

__all__ = ["Reduce", "mean", "or_nan", "over_positions"]

Channels = Float[Tensor, " channels"]
Reduce = Callable[[Tensor], Tensor]
"""Adds a tensor up over the ranks whose batches are one."""


def mean(total: Channels, count: int | Tensor, reduce: Reduce | None) -> Channels:
    """Total over count, of this process or of all ranks that `reduce` adds up; what they exchange is in float64.

    Raises:
        ValueError: no rank counts anything (looked at on the CPU).
    """
    if reduce is None:
        return total / count
    wide = total.to(torch.float64)  # ranks whose kernels differ, one with an empty batch perhaps, speak alike
    joint = reduce(torch.cat([wide, torch.ones_like(wide[:1]) * count]))
    if joint.is_cpu and not tracing() and not bool(joint[-1].detach()):
        raise ValueError("no rank has a position that is not padding, so that there is nothing to take a statistic of")
    return (joint[:-1] / joint[-1]).to(total.dtype)


def over_positions(x: Float[Tensor, "*batch channels"]) -> Channels:
    """The sum of each channel."""
    return x.reshape(-1, x.shape[-1]).sum(0)


def or_nan(statistic: Channels) -> Channels:
    """The statistic; NaN where it is infinite, by which every finite number would silently become 0."""
    return statistic + (statistic - statistic)
