"""Cross-entropy written as its definition: the negative log-probability of the target, which smoothing spreads.

Unlike torch's it has a derivative by the class weights.
"""

import torch
from torch import Tensor

from normkit.kernels.dispatch import tracing
from normkit.kernels.reference._precision import statistics_dtype
from normkit.kernels.reference.softmax import log_softmax

__all__ = ["cross_entropy"]


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """−Σ_c q_c w_c log p_c, q the target's distribution, smoothed; classes along axis 1, or 0 of a single sample."""
    axis = 0 if input.ndim == 1 else 1
    log_p = log_softmax(input.to(statistics_dtype(input.dtype)), axis)
    classes = input.shape[axis]
    w = log_p.new_ones(classes) if weight is None else weight.to(log_p.dtype)
    w = w.view(classes, *[1] * (input.ndim - 1 - axis))
    if target.is_floating_point():
        q = target.to(log_p.dtype) * (1 - label_smoothing) + label_smoothing / classes
        losses = -(q * w * log_p).sum(axis)
        return _reduced(losses, reduction, losses.numel()).to(input.dtype)
    losses, own = _of_indices(log_p, target, w, axis, ignore_index, label_smoothing)
    return _reduced(losses, reduction, own.sum()).to(input.dtype)


def _of_indices(
    log_p: Tensor, target: Tensor, w: Tensor, axis: int, ignore_index: int, label_smoothing: float
) -> tuple[Tensor, Tensor]:
    """Losses, and the weights of the targets' classes; 0 where the target is to be ignored."""
    classes = log_p.shape[axis]
    valid = target != ignore_index
    index = torch.where(valid, target, 0).long()
    _check_range(index, classes)
    own = torch.where(valid, w.flatten()[index], 0.0)
    losses = -own * log_p.gather(axis, index.unsqueeze(axis)).squeeze(axis)
    if label_smoothing:
        smooth = -(w * log_p).sum(axis)
        losses = (1 - label_smoothing) * losses + label_smoothing / classes * smooth
    return torch.where(valid, losses, 0.0), own


def _check_range(index: Tensor, classes: int) -> None:
    if tracing() or index.is_meta or index.numel() == 0:
        return
    bad = index[(index < 0) | (index >= classes)]
    if bad.numel():
        raise IndexError(f"Target {bad[0].item()} is out of bounds.")


def _reduced(losses: Tensor, reduction: str, total: Tensor | int) -> Tensor:
    if reduction == "none":
        return losses
    return losses.sum() / total if reduction == "mean" else losses.sum()
