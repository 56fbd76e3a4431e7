"""Derivatives of the softmax family as formulas in torch, so that they can be differentiated again.

softmax        dx = y (dy − Σ y dy)
log-softmax    dx = dy − e^y Σ dy
log-sum-exp    dx = dL e^(x − L)
cross-entropy  dx = g [((1 − ε) w_t + ε/C Σ w) softmax(x) − (1 − ε) w_t 1_t − ε/C w]
"""

import torch
from torch import Tensor

__all__ = ["cross_entropy_backward", "log_softmax_backward", "logsumexp_backward", "softmax_backward"]


def softmax_backward(output: Tensor, grad: Tensor, dim: int) -> Tensor:
    """dx of y = softmax(x), from y and dy; a row of zeros (all of it masked) gets zeros."""
    product = output * grad
    return product - output * product.sum(dim, keepdim=True)


def log_softmax_backward(output: Tensor, grad: Tensor, dim: int, masked_zero: bool = False) -> Tensor:
    """dx of y = log softmax(x), from y and dy; with `masked_zero` an all −inf row gets zeros."""
    dx = grad - output.exp() * grad.sum(dim, keepdim=True)
    return dx.masked_fill((output == -torch.inf).all(dim, keepdim=True), 0.0) if masked_zero else dx


def logsumexp_backward(input: Tensor, output: Tensor, grad: Tensor, dim: int) -> Tensor:
    """dx of L = log Σ e^x, from x, L and dL, the latter two without the axis `dim`."""
    return grad.unsqueeze(dim) * (input - output.unsqueeze(dim)).exp()


def cross_entropy_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    grad: Tensor,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
) -> Tensor:
    """dx of the cross-entropy of rows (rows, classes) with class indices; rows that are ignored get zeros."""
    wide = input.to(torch.promote_types(input.dtype, torch.float32))
    valid = target != ignore_index
    index = torch.where(valid, target, 0)
    w = wide.new_ones(input.shape[1]) if weight is None else weight.to(wide.dtype)
    own = torch.where(valid, w[index], 0.0)
    scale = grad / own.sum() if reduction == "mean" else grad
    scale = torch.where(valid, scale, 0.0).unsqueeze(1)
    hot = (1 - label_smoothing) * own.unsqueeze(1)
    share = label_smoothing / input.shape[1]
    classes = torch.arange(input.shape[1], device=input.device)
    of_target = torch.where(classes == index.unsqueeze(1), hot, 0.0)
    return (scale * ((hot + share * w.sum()) * wide.softmax(1) - of_target - share * w)).to(input.dtype)
