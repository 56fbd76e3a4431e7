"""The steps of a layer-normalised GRU in one loop, made differentiable by hand.

u_t = W h_{t−1},   v_t = W_n h_{t−1},   r, z = σ( a_t + LN(u_t) ),   n = tanh( b_t + r LN(v_t) ),
h_t = n + z (h_{t−1} − n);   a_t and b_t are what the input adds.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from normkit.kernels import differentiable
from normkit.kernels.recurrence import Walk, norm, norm_backward, sigmoid_backward, tanh_backward

__all__ = ["walk"]

Formula = Callable[..., tuple[Tensor, Tensor]]


class _Tape(NamedTuple):
    """What the backward loop reads, all steps below each other."""

    gates: Tensor  # r, z
    new: Tensor  # n
    sums: Tensor  # u
    new_sums: Tensor  # v
    recalled: Tensor  # LN(v)
    scales: Tensor
    new_scales: Tensor


def walk(
    how: Walk,
    x: Tensor,
    h: Tensor,
    weight: Tensor,
    weight_new: Tensor,
    gain: Tensor,
    shift: Tensor,
    gain_new: Tensor,
    shift_new: Tensor,
    formula: Formula,
) -> tuple[Tensor, Tensor]:
    """h of all steps, and the last h.

    Args:
        how: the walk; ε of the norms of u and of v.
        x: what the input adds, a and b, (steps · rows, 3 H), in torch's order r, z, n.
        h: the state before the first step, (rows, H).
        weight: W, (2 H, H).
        weight_new: W_n, (H, H).
        gain: of the norm of u.
        shift: of the norm of u.
        gain_new: of the norm of v.
        shift_new: of the norm of v.
        formula: the same as a function of the eight tensors in torch's operations, for second derivatives.
    """
    inputs = (x, h, weight, weight_new, gain, shift, gain_new, shift_new)
    if differentiable.recorded(*inputs):
        found: tuple[Tensor, Tensor] = differentiable.apply(_Steps, how, formula, *inputs)
        return found
    outputs, h, _ = _forward(how, False, *inputs)
    return outputs, h


def _forward(
    how: Walk,
    record: bool,
    x: Tensor,
    h: Tensor,
    weight: Tensor,
    weight_new: Tensor,
    gain: Tensor,
    shift: Tensor,
    gain_new: Tensor,
    shift_new: Tensor,
) -> tuple[Tensor, Tensor, _Tape | None]:
    rows, width = h.shape
    gates, sums = (x.new_empty(len(x), 2 * width) for _ in range(2))
    outputs, new, new_sums = (x.new_empty(len(x), width) for _ in range(3))
    r, z = (gate.split(rows) for gate in gates.chunk(2, 1))
    from_input, new_from_input = (part.split(rows) for part in x.split((2 * width, width), 1))
    u, v, at_gates, n, at_outputs = (each.split(rows) for each in (sums, new_sums, gates, new, outputs))
    scales: list[list[Tensor]] = [[], []]
    shown = []
    transposed, transposed_new = weight.t(), weight_new.t()
    for t in how.order():
        torch.mm(h, transposed, out=u[t])
        torch.mm(h, transposed_new, out=v[t])
        normal = norm(u[t], (2 * width,), gain, shift, how.eps[0], scales[0] if record else None)
        torch.add(normal, from_input[t], out=at_gates[t]).sigmoid_()
        normal = norm(v[t], (width,), gain_new, shift_new, how.eps[1], scales[1] if record else None)
        torch.addcmul(new_from_input[t], r[t], normal, out=n[t]).tanh_()
        h = torch.lerp(n[t], h, z[t], out=at_outputs[t])
        shown.append(normal)
    if not record:
        return outputs, h.clone(), None
    return outputs, h.clone(), _Tape(gates, new, sums, new_sums, *(how.joined(each) for each in (shown, *scales)))


class _Steps(torch.autograd.Function):
    """The walk as one node of the graph."""

    @staticmethod
    def forward(ctx: Any, how: Walk, formula: Formula, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        outputs, h, tape = _forward(how, True, *inputs)
        assert tape is not None
        ctx.how, ctx.formula = how, formula
        ctx.save_for_backward(*inputs, outputs, *tape)
        return outputs, h

    @staticmethod
    def backward(ctx: Any, grad: Tensor, grad_h: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, outputs = ctx.saved_tensors[:9]
        if not differentiable.by_hand(grad, grad_h):
            return None, None, *differentiable.by_formula(ctx.formula, inputs, (grad, grad_h))
        tape = _Tape(*ctx.saved_tensors[9:])
        return None, None, *_backward(ctx.how, tape, inputs, outputs, (grad, grad_h))


def _backward(
    how: Walk, tape: _Tape, inputs: list[Tensor], outputs: Tensor, grads: tuple[Tensor, Tensor]
) -> tuple[Tensor, ...]:
    _, start, weight, weight_new, gain, _, gain_new, _ = inputs
    before = how.before(start, outputs)
    d_gates, d_new, d_recalled, d_h = _backward_steps(how, tape, before, (weight, weight_new), (gain, gain_new), grads)
    d_sums, *of_sums = norm_backward(tape.sums, d_gates, gain, tape.scales, True)
    d_new_sums, *of_new = norm_backward(tape.new_sums, d_recalled, gain_new, tape.new_scales, True)
    d_x = torch.cat([d_gates, d_new], 1)
    return d_x, d_h, d_sums.t() @ before, d_new_sums.t() @ before, *of_sums, *of_new


def _backward_steps(
    how: Walk,
    tape: _Tape,
    states: Tensor,
    weights: tuple[Tensor, Tensor],
    gains: tuple[Tensor, Tensor],
    grads: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients for a, b and LN(v) at every step, and for the state before the first."""
    rows = len(grads[1])
    d_gates, d_new, d_recalled = (torch.empty_like(each) for each in (tape.gates, tape.new, tape.recalled))
    (r, z), (dr, dz) = ([gate.split(rows) for gate in each.chunk(2, 1)] for each in (tape.gates, d_gates))
    before, d_outputs, gates, n, u, v, recalled, scales, new_scales, at_gates, dn, d_of_recalled = (
        each.split(rows) for each in (states, grads[0], *tape, d_gates, d_new, d_recalled)
    )
    d_h = grads[1]
    for t in reversed(how.order()):
        d_h = d_h + d_outputs[t]
        kept = d_h * z[t]
        torch.sub(before[t], n[t], out=dz[t]).mul_(d_h)
        tanh_backward(d_h.sub_(kept), n[t], grad_input=dn[t])
        torch.mul(dn[t], recalled[t], out=dr[t])
        torch.mul(dn[t], r[t], out=d_of_recalled[t])
        sigmoid_backward(at_gates[t], gates[t], grad_input=at_gates[t])
        d_u, *_ = norm_backward(u[t], at_gates[t], gains[0], scales[t], False)
        d_v, *_ = norm_backward(v[t], d_of_recalled[t], gains[1], new_scales[t], False)
        d_h = kept.addmm_(d_u, weights[0]).addmm_(d_v, weights[1])
    return d_gates, d_new, d_recalled, d_h
