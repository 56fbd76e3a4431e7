"""What the rules ask of a norm that they replace."""

from typing import Any

import torch
from torch import nn

from normkit.conversion._framework.rule import Refusal

__all__ = ["check_groups", "check_own_forward", "described", "groups_for"]


def check_own_forward(norm: nn.Module) -> None:
    """Refuse a subclass of torch's norm that computes something of its own.

    Raises:
        Refusal: its `forward` is not the one of the torch class.
    """
    plain: Any = next(kind for kind in type(norm).__mro__ if kind.__module__.startswith("torch.nn.modules"))
    if type(norm).forward is not plain.forward or "forward" in vars(norm):
        raise Refusal(f"a {type(norm).__name__} with a forward of its own, which is not known to be a {plain.__name__}")


def described(norm: nn.Module) -> tuple[int, float, dict[str, Any]]:
    """Channels, ε, and device and dtype of a BatchNorm or GroupNorm."""
    channels = norm.num_channels if isinstance(norm, nn.GroupNorm) else norm.num_features
    assert isinstance(channels, int)
    tensor = next((one for one in [*norm.parameters(), *norm.buffers()] if one.is_floating_point()), torch.zeros(()))
    assert isinstance(norm.eps, float)
    return channels, norm.eps, {"device": tensor.device, "dtype": tensor.dtype}


def check_groups(rule: object, groups: object) -> None:
    """Refuse what can be no number of groups, whatever the channels.

    Raises:
        ValueError: it is neither "auto" nor a whole number of at least 1.
    """
    whole = isinstance(groups, int) and not isinstance(groups, bool)
    if groups != "auto" and not (whole and groups >= 1):  # type: ignore[operator]
        raise ValueError(f"{type(rule).__name__}: groups is 'auto' or a whole number of at least 1, got {groups!r}")


def groups_for(channels: int, groups: int | str) -> int:
    """The number of groups: as asked, or for `"auto"` the largest divisor up to 32 with two channels or more each.

    Raises:
        Refusal: the number does not divide the channels; names those that do.
    """
    divisors = [count for count in range(1, channels + 1) if channels % count == 0]
    if groups == "auto":
        return max(count for count in divisors if count == 1 or (count <= 32 and channels >= 2 * count))
    if groups not in divisors:
        raise Refusal(f"{channels} channels cannot be parted into {groups!r} groups; {divisors} or 'auto' can")
    assert isinstance(groups, int)
    return groups
