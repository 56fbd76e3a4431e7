"""Derivatives of the softmax family as formulas in torch, so that they can be differentiated again.

softmax        dx = y (dy − Σ y dy)
log-softmax    dx = dy − e^y Σ dy
log-sum-exp    dx = dL e^(x − L)
"""

import torch
from torch import Tensor

__all__ = ["log_softmax_backward", "logsumexp_backward", "softmax_backward"]


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
