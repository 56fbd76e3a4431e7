"""What the layers of a transformer share: where their norms stand, and the names of norms and activations."""

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from normkit.nn import LayerNorm, RMSNorm

__all__ = ["PLACEMENTS", "Mask", "Norm", "NormPair", "activation_of", "add_branch", "norm_factory", "norm_pair"]

PLACEMENTS = ("pre", "post", "peri", "output")

Norm = str | Callable[[int], nn.Module]
"""A norm by name, or a factory from a width to a module."""

NormPair = tuple[nn.Module | None, nn.Module | None]
"""The norm at a sub-layer's input (behind its sum, with "post"), and the one at its output."""

Mask = Float[Tensor, "..."] | Bool[Tensor, "..."]

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu}


def add_branch(
    placement: str, x: Tensor, branch: Callable[[Tensor], Tensor], norms: NormPair, dropout: Callable[[Tensor], Tensor]
) -> Tensor:
    """One sub-layer: the stream x with what the branch makes of it, normalised where the placement says."""
    norm, norm_out = norms
    if placement == "post":
        assert norm is not None
        return norm(x + dropout(branch(x)))
    y = branch(x if norm is None else norm(x))
    return x + dropout(y if norm_out is None else norm_out(y))


def norm_pair(placement: str, make: Callable[[], nn.Module]) -> NormPair:
    """The norms of one sub-layer, those that the placement has.

    Raises:
        ValueError: unknown placement.
    """
    if placement not in PLACEMENTS:
        raise ValueError(f"placement is {placement!r}: it must be one of {', '.join(PLACEMENTS)}")
    return make() if placement != "output" else None, make() if placement in ("peri", "output") else None


def activation_of(activation: str | Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The function of that name.

    Raises:
        ValueError: there is none of that name.
    """
    if callable(activation):
        return activation
    if activation not in _ACTIVATIONS:
        raise ValueError(f"activation is {activation!r}: it must be one of {', '.join(_ACTIVATIONS)}, or a function")
    return _ACTIVATIONS[activation]


def norm_factory(norm: Norm, eps: float, bias: bool, where: dict[str, Any]) -> Callable[[int], nn.Module]:
    """From a width to a norm.

    Raises:
        ValueError: there is no norm of that name.
    """
    if callable(norm):
        return norm
    if norm == "layer":
        return lambda width: LayerNorm(width, eps=eps, bias=bias, **where)
    if norm == "rms":
        return lambda width: RMSNorm(width, eps=eps, **where)
    raise ValueError(f"norm is {norm!r}: it must be 'layer', 'rms', or a factory from a width to a module")
