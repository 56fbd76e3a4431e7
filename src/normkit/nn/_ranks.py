"""Moments and sums of a batch, of this process alone or over all ranks of `torch.distributed`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from normkit.kernels.moments import moments
from normkit.kernels.reference._precision import statistics_dtype

__all__ = ["Ranks", "moments_of", "moments_over_ranks", "summation_over_ranks"]


@dataclass(frozen=True)
class Ranks:
    """A process group as an attribute of a layer: a copy of the layer keeps the group, which cannot be copied."""

    group: "dist.ProcessGroup | None"

    def __deepcopy__(self, memo: dict[int, Any]) -> "Ranks":
        return self


def moments_of(input: Tensor) -> tuple[Tensor, Tensor, int]:
    """Mean and population variance of each channel of (B, C, …), in float32 or wider, and values per channel."""
    variance, mean = moments(input.to(statistics_dtype(input.dtype)), (0, *range(2, input.ndim)))
    return mean, variance, input.numel() // input.shape[1]


def moments_over_ranks(input: Tensor) -> tuple[Tensor, Tensor, int]:
    """The same over the batches of all ranks, which may differ in size; the gradient passes to every rank."""
    mean, variance, count = moments_of(input)
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return mean, variance, count
    from torch.distributed.nn.functional import all_gather  # here, for it warns where there is no distributed build

    if count == 0:  # an empty batch has no moments, and no share
        mean, variance = torch.zeros_like(mean), torch.zeros_like(variance)
    own = torch.cat([mean, variance, mean.new_tensor([count])])
    ranks = torch.stack(list(all_gather(own)))
    means, variances, counts = ranks.tensor_split((mean.numel(), 2 * mean.numel()), dim=1)
    share = counts / counts.sum()
    overall = (share * means).sum(0)
    spread = (share * (variances + (means - overall) ** 2)).sum(0)
    return overall, spread, int(counts.sum())


def summation_over_ranks(group: "dist.ProcessGroup | None" = None) -> Callable[[Tensor], Tensor] | None:
    """What adds a tensor up over the ranks of `group` (None: all); the gradient passes to every rank.

    None where there is nothing to add up: no process group, or a single rank.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size(group) == 1:
        return None
    from torch.distributed.nn.functional import all_reduce  # here, for it warns where there is no distributed build

    return lambda tensor: all_reduce(tensor, group=dist.group.WORLD if group is None else group)
