"""The 24 primitive operations of which normalisation-activation layers are built, from tensors to tensors.

    0 add, 1 mul, 2 div, 3 max                                                    of two operands
    4 neg, 5 sigmoid, 6 tanh, 7 exp, 8 log, 9 abs, 10 square, 11 sqrt             of one; log = sign(a)·ln|a| and
                                                                                  sqrt = sign(a)·√|a|
    12 … 23 {mean, rms, std} × {batch, instance, layer, group}                    moments of one, expanded to x's shape

Nothing is guarded: 0·∞ and a/0 give NaN or infinity. Variances are population variances.

Source: Liu et al. 2020, "Evolving Normalization-Activation Layers", arXiv:2004.02967, section 3 (the search space).
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from normkit.kernels.moments import moments

__all__ = ["AXES", "BINARY", "KINDS", "OPERATIONS", "UNARY", "Moments", "is_binary", "moment", "moment_of"]

BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "mul": torch.mul,
    "div": torch.div,
    "max": torch.maximum,
}
UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "neg": torch.neg,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "exp": torch.exp,
    "log": lambda a: a.sign() * a.abs().log(),
    "abs": torch.abs,
    "square": torch.square,
    "sqrt": lambda a: a.sign() * a.abs().sqrt(),
}
KINDS = ("mean", "rms", "std")
AXES = ("batch", "instance", "layer", "group")
OPERATIONS: tuple[str, ...] = (*BINARY, *UNARY, *(f"{kind}-{axes}" for kind in KINDS for axes in AXES))
"""Names of the operations; an operation's id is its place here."""

Moments = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From a tensor (B, C, …) to the mean and the variance of each channel."""


def is_binary(operation: int) -> bool:
    """Whether the operation with this id reads its second operand."""
    return operation < len(BINARY)


def moment_of(operation: int) -> tuple[str, str] | None:
    """Kind and axes of a moment, such as ("std", "batch"); None for the other operations."""
    kind, dash, axes = OPERATIONS[operation].partition("-")
    return (kind, axes) if dash else None


def moment(
    kind: str,
    axes: str,
    a: Float[Tensor, "batch channels *space"],
    groups: int,
    eps: float,
    per_channel: Moments | None = None,
) -> Float[Tensor, "..."]:
    """Mean, sqrt(mean(a²) + ε) or sqrt(var(a) + ε) over some axes, which keep the length 1.

    Shapes: (B, C, *space) to (1, C, 1…) for "batch", (B, C, 1…) for "instance" and "group", (B, 1, 1…) for "layer".

    Args:
        kind: "mean", "rms" or "std".
        axes: "batch" (batch and space), "instance" (space), "layer" (channels and space) or "group" (the channels of
            one of `groups` groups, and space).
        a: the operand, at full size.
        groups: into how many groups the channels are cut, for "group".
        eps: ε.
        per_channel: gives the batch's mean and variance of each channel where they do not come from `a` alone.
    """
    space = tuple(range(2, a.ndim))
    if axes == "batch" and per_channel is not None:
        mean, variance = (each.reshape(1, -1, *[1] * len(space)) for each in per_channel(a))
        return mean if kind == "mean" else (variance + (mean**2 if kind == "rms" else 0) + eps).sqrt()
    if axes == "group":
        whole = a.reshape(a.shape[0], groups, a.shape[1] // groups, *a.shape[2:])
        cut = _moment(kind, whole, tuple(range(2, whole.ndim)), eps)
        return cut.flatten(1, 2).repeat_interleave(a.shape[1] // groups, dim=1)
    return _moment(kind, a, {"batch": (0, *space), "instance": space, "layer": (1, *space)}[axes], eps)


def _moment(kind: str, a: Tensor, dim: tuple[int, ...], eps: float) -> Tensor:
    if kind == "mean":
        return a.mean(dim, keepdim=True)
    if kind == "rms":
        return (a.square().mean(dim, keepdim=True) + eps).sqrt()
    return (moments(a, dim, keepdim=True)[0] + eps).sqrt()
