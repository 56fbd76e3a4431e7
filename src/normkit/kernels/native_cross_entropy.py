"""The C++ cross-entropy on CPU tensors: no autograd, no tracing, just numbers.

    loss  = (1 − ε) w_t (L − x_t) + ε/C Σ_j w_j (L − x_j),   L = log Σ_j e^(x_j)
    dx_j  = g [((1 − ε) w_t + ε/C Σ_k w_k) softmax(x)_j − (1 − ε) w_t [j = t] − ε/C w_j]

The forward pass keeps e^L of each row as a pair (mantissa, exponent) of float32 numbers, 8 bytes a row; the backward
pass computes the exponentials again. Rows of half types are computed in float32 and rounded once.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from normkit.kernels import native

if native.AVAILABLE:
    from normkit import _native

__all__ = ["REDUCTIONS", "Settings", "cross_entropy", "cross_entropy_backward"]

REDUCTIONS = ("none", "mean", "sum")


# x, target, weight, kept, storage, rows, classes, stride, ignore_index, smoothing, reduction
_Common = tuple[int, int, int, int, int, int, int, int, int, float, int]


class Settings(NamedTuple):
    """What a call of cross-entropy is told besides tensors."""

    ignore_index: int = -100
    reduction: str = "mean"
    label_smoothing: float = 0.0


def cross_entropy(
    x: Float[Tensor, "rows classes"],
    target: Int[Tensor, " rows"],
    weight: Float[Tensor, " classes"] | None,
    settings: Settings,
) -> tuple[Float[Tensor, "..."], Float[Tensor, "kept rows"]]:
    """The loss, one number or one per row, and what the backward pass needs of the rows.

    Args:
        x: float32, bfloat16 or float16; the elements of a row are neighbours, rows may have gaps between them.
        target: int64, contiguous.
        weight: float32, contiguous; None weighs all classes alike.
        settings: reduction, smoothing and the target that marks a row without one.

    Raises:
        IndexError: a target is neither a class nor `settings.ignore_index`.
    """
    rows = x.shape[0]
    none = settings.reduction == "none"
    loss = torch.empty(rows if none else (), dtype=torch.float32, device="cpu")
    # Where only their sum is asked for, the rows' losses lie behind the pairs: an allocation costs as much as a row.
    kept = torch.empty((2 if none else 3, rows), dtype=torch.float32, device="cpu")
    losses, total = (loss.data_ptr(), 0) if none else (kept.data_ptr() + 8 * rows, loss.data_ptr())
    _native.cross_entropy(*_common(x, target, weight, kept, settings), losses, total, torch.get_num_threads())
    return (loss if x.dtype is torch.float32 else loss.to(x.dtype)), kept


def cross_entropy_backward(
    x: Float[Tensor, "rows classes"],
    target: Int[Tensor, " rows"],
    weight: Float[Tensor, " classes"] | None,
    kept: Float[Tensor, "kept rows"],
    grad: Float[Tensor, "..."],
    settings: Settings,
) -> Float[Tensor, "rows classes"]:
    """The gradient dx from the logits, the loss's gradient and what the forward pass kept."""
    dx = native.fresh(x, contiguous=not x.is_contiguous())
    grad = grad.to(torch.float32)
    _native.cross_entropy_backward(
        *_common(x, target, weight, kept, settings),
        grad.data_ptr(),
        grad.stride(0) if grad.ndim else 0,
        dx.data_ptr(),
        torch.get_num_threads(),
    )
    return dx


def _common(x: Tensor, target: Tensor, weight: Tensor | None, kept: Tensor, settings: Settings) -> _Common:
    rows, classes = x.shape
    return (
        x.data_ptr(),
        target.data_ptr(),
        0 if weight is None else weight.data_ptr(),
        kept.data_ptr(),
        native.STORAGE[x.dtype],
        rows,
        classes,
        x.stride(0),
        settings.ignore_index,
        settings.label_smoothing,
        REDUCTIONS.index(settings.reduction),
    )
