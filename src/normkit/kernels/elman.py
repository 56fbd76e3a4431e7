"""The steps of a layer-normalised Elman network in one loop, made differentiable by hand.

s_t = a_t + W h_{t−1},   h_t = φ( LN(s_t) ),   φ = tanh or ReLU;   a_t is what the input adds.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from normkit.kernels import differentiable
from normkit.kernels.recurrence import Walk, norm, norm_backward, relu_backward, tanh_backward

__all__ = ["walk"]

Formula = Callable[..., tuple[Tensor, Tensor]]


class _Tape(NamedTuple):
    """What the backward loop reads, all steps below each other."""

    sums: Tensor
    scales: Tensor


def walk(
    how: Walk, relu: bool, x: Tensor, h: Tensor, weight: Tensor, gain: Tensor, shift: Tensor, formula: Formula
) -> tuple[Tensor, Tensor]:
    """h of all steps, and the last h.

    Args:
        how: the walk; ε of the norm.
        relu: whether φ is ReLU, and not tanh.
        x: what the input adds, (steps · rows, H).
        h: the state before the first step, (rows, H).
        weight: W, (H, H).
        gain: of the norm.
        shift: of the norm.
        formula: the same as a function of the five tensors in torch's operations, for second derivatives.
    """
    inputs = (x, h, weight, gain, shift)
    if differentiable.recorded(*inputs):
        found: tuple[Tensor, Tensor] = differentiable.apply(_Steps, how, relu, formula, *inputs)
        return found
    outputs, h, _ = _forward(how, relu, False, *inputs)
    return outputs, h


def _forward(
    how: Walk, relu: bool, record: bool, x: Tensor, h: Tensor, weight: Tensor, gain: Tensor, shift: Tensor
) -> tuple[Tensor, Tensor, _Tape | None]:
    rows, width = h.shape
    sums, outputs = (torch.empty_like(x) for _ in range(2))
    from_input, s, at_outputs = (each.split(rows) for each in (x, sums, outputs))
    scales: list[Tensor] = []
    transposed = weight.t()
    phi = _relu if relu else torch.tanh
    for t in how.order():
        torch.addmm(from_input[t], h, transposed, out=s[t])
        normal = norm(s[t], (width,), gain, shift, how.eps[0], scales if record else None)
        h = phi(normal, out=at_outputs[t])
    if not record:
        return outputs, h.clone(), None
    return outputs, h.clone(), _Tape(sums, how.joined(scales))


def _relu(x: Tensor, *, out: Tensor) -> Tensor:
    return torch.clamp_min(x, 0.0, out=out)  # torch.relu takes no `out`


class _Steps(torch.autograd.Function):
    """The walk as one node of the graph."""

    @staticmethod
    def forward(ctx: Any, how: Walk, relu: bool, formula: Formula, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        outputs, h, tape = _forward(how, relu, True, *inputs)
        assert tape is not None
        ctx.how, ctx.relu, ctx.formula = how, relu, formula
        ctx.save_for_backward(*inputs, outputs, *tape)
        return outputs, h

    @staticmethod
    def backward(ctx: Any, grad: Tensor, grad_h: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, outputs = ctx.saved_tensors[:6]
        if not differentiable.by_hand(grad, grad_h):
            return None, None, None, *differentiable.by_formula(ctx.formula, inputs, (grad, grad_h))
        tape = _Tape(*ctx.saved_tensors[6:])
        return None, None, None, *_backward(ctx.how, ctx.relu, tape, inputs, outputs, (grad, grad_h))


def _backward(
    how: Walk, relu: bool, tape: _Tape, inputs: list[Tensor], outputs: Tensor, grads: tuple[Tensor, Tensor]
) -> tuple[Tensor, ...]:
    _, start, weight, gain, _ = inputs
    rows = len(start)
    d_normal = torch.empty_like(outputs)
    s, scales, h, d_outputs, d_y = (each.split(rows) for each in (*tape, outputs, grads[0], d_normal))
    d_h = grads[1]
    for t in reversed(how.order()):
        total = d_h + d_outputs[t]
        if relu:
            relu_backward(total, h[t], 0, grad_input=d_y[t])
        else:
            tanh_backward(total, h[t], grad_input=d_y[t])
        d_s, *_ = norm_backward(s[t], d_y[t], gain, scales[t], False)
        d_h = d_s @ weight
    d_sums, *of_norm = norm_backward(tape.sums, d_normal, gain, tape.scales, True)
    return d_sums, d_h, d_sums.t() @ how.before(start, outputs), *of_norm
