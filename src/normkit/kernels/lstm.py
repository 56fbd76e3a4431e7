"""The steps of a layer-normalised LSTM in one loop, made differentiable by hand.

u_t = W h_{t−1},   i, f, g, o = z_t + LN(u_t),   c_t = σ(f) c_{t−1} + σ(i) tanh(g),   h_t = σ(o) tanh(LN(c_t))
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from normkit.kernels import differentiable
from normkit.kernels.recurrence import Walk, norm, norm_backward, sigmoid_backward, tanh_backward

__all__ = ["walk"]

Formula = Callable[..., tuple[Tensor, Tensor, Tensor]]


class _Tape(NamedTuple):
    """What the backward loop reads, all steps below each other."""

    gates: Tensor  # σ(i), σ(f), tanh(g), σ(o)
    sums: Tensor  # u
    cells: Tensor  # c
    shown: Tensor  # tanh(LN(c))
    sum_scales: Tensor
    cell_scales: Tensor


def walk(
    how: Walk,
    z: Tensor,
    h: Tensor,
    c: Tensor,
    weight: Tensor,
    gain: Tensor,
    shift: Tensor,
    gain_cell: Tensor,
    shift_cell: Tensor,
    formula: Formula,
) -> tuple[Tensor, Tensor, Tensor]:
    """h of all steps, and the last h and c.

    Args:
        how: the walk; ε of the sum's norm and of the cell's.
        z: what the input adds to the gates, (steps · rows, 4 H), in torch's order i, f, g, o.
        h: the state before the first step, (rows, H).
        c: the cell before the first step, (rows, H).
        weight: W, (4 H, H).
        gain: of the norm of u.
        shift: of the norm of u.
        gain_cell: of the norm of c.
        shift_cell: of the norm of c.
        formula: the same as a function of the eight tensors in torch's operations, for second derivatives.
    """
    inputs = (z, h, c, weight, gain, shift, gain_cell, shift_cell)
    if differentiable.recorded(*inputs):
        found: tuple[Tensor, Tensor, Tensor] = differentiable.apply(_Steps, how, formula, *inputs)
        return found
    outputs, h, c, _ = _forward(how, False, *inputs)
    return outputs, h, c


def _gates(x: Tensor, rows: int) -> list[tuple[Tensor, ...]]:
    """Views of i, f, g, o at every step."""
    return [gate.split(rows) for gate in x.chunk(4, 1)]


def _forward(
    how: Walk,
    record: bool,
    z: Tensor,
    h: Tensor,
    c: Tensor,
    weight: Tensor,
    gain: Tensor,
    shift: Tensor,
    gain_cell: Tensor,
    shift_cell: Tensor,
) -> tuple[Tensor, Tensor, Tensor, _Tape | None]:
    rows, width = h.shape
    gates, sums = torch.empty_like(z), torch.empty_like(z) if record else z.new_empty(rows, 4 * width)
    outputs, cells, shown = (z.new_empty(len(z), width) for _ in range(3))
    i, f, g, o = _gates(gates, rows)
    i_and_f = gates[:, : 2 * width].split(rows)
    at_gates, at_z, at_cells, at_shown, at_outputs = (x.split(rows) for x in (gates, z, cells, shown, outputs))
    at_sums = sums.split(rows) if record else (sums,) * how.steps
    scales: list[list[Tensor]] = [[], []]
    wide, narrow, transposed = (4 * width,), (width,), weight.t()
    for t in how.order():
        torch.mm(h, transposed, out=at_sums[t])
        normal = norm(at_sums[t], wide, gain, shift, how.eps[0], scales[0] if record else None)
        torch.add(normal, at_z[t], out=at_gates[t])
        i_and_f[t].sigmoid_()
        g[t].tanh_()
        o[t].sigmoid_()
        torch.mul(f[t], c, out=at_cells[t])
        c = at_cells[t].addcmul_(i[t], g[t])
        normal = norm(c, narrow, gain_cell, shift_cell, how.eps[1], scales[1] if record else None)
        torch.tanh(normal, out=at_shown[t])
        h = torch.mul(o[t], at_shown[t], out=at_outputs[t])
    if not record:
        return outputs, h.clone(), c.clone(), None
    of_sums, of_cells = (how.joined(each) for each in scales)
    return outputs, h.clone(), c.clone(), _Tape(gates, sums, cells, shown, of_sums, of_cells)


class _Steps(torch.autograd.Function):
    """The walk as one node of the graph."""

    @staticmethod
    def forward(ctx: Any, how: Walk, formula: Formula, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        outputs, h, c, tape = _forward(how, True, *inputs)
        assert tape is not None
        ctx.how, ctx.formula = how, formula
        ctx.save_for_backward(*inputs, outputs, *tape)
        return outputs, h, c

    @staticmethod
    def backward(ctx: Any, grad: Tensor, grad_h: Tensor, grad_c: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, outputs = ctx.saved_tensors[:9]
        if not differentiable.by_hand(grad, grad_h, grad_c):
            return None, None, *differentiable.by_formula(ctx.formula, inputs, (grad, grad_h, grad_c))
        tape = _Tape(*ctx.saved_tensors[9:])
        return None, None, *_backward(ctx.how, tape, inputs, outputs, (grad, grad_h, grad_c))


def _backward(
    how: Walk, tape: _Tape, inputs: list[Tensor], outputs: Tensor, grads: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, ...]:
    _, start, start_cell, weight, gain, _, gain_cell, _ = inputs
    d_z, d_shown, d_h, d_c = _backward_steps(how, tape, start_cell, weight, gain, gain_cell, grads)
    d_sums, *of_sums = norm_backward(tape.sums, d_z, gain, tape.sum_scales, True)
    _, *of_cells = norm_backward(tape.cells, d_shown, gain_cell, tape.cell_scales, True)
    return d_z, d_h, d_c, d_sums.t() @ how.before(start, outputs), *of_sums, *of_cells


def _backward_steps(
    how: Walk,
    tape: _Tape,
    start_cell: Tensor,
    weight: Tensor,
    gain: Tensor,
    gain_cell: Tensor,
    grads: tuple[Tensor, Tensor, Tensor],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients for z, for LN(c) at every step, and for the states before the first."""
    rows, width = start_cell.shape
    d_gates, d_shown = torch.empty_like(tape.gates), torch.empty_like(tape.cells)
    (i, f, g, o), (di, df, dg, do) = _gates(tape.gates, rows), _gates(d_gates, rows)
    i_and_f, di_and_df = (x[:, : 2 * width].split(rows) for x in (tape.gates, d_gates))
    before, sums, cells, shown, sum_scales, cell_scales, d_of_shown, d_of_gates, d_outputs = (
        x.split(rows) for x in (how.before(start_cell, tape.cells), *tape[1:], d_shown, d_gates, grads[0])
    )
    _, d_h, d_c = grads
    for t in reversed(how.order()):
        d_h = d_h + d_outputs[t]
        torch.mul(d_h, shown[t], out=do[t])
        tanh_backward(d_h.mul_(o[t]), shown[t], grad_input=d_of_shown[t])
        d_cell, *_ = norm_backward(cells[t], d_of_shown[t], gain_cell, cell_scales[t], False)
        d_c = d_cell.add_(d_c)
        torch.mul(d_c, g[t], out=di[t])
        torch.mul(d_c, before[t], out=df[t])
        torch.mul(d_c, i[t], out=dg[t])
        sigmoid_backward(di_and_df[t], i_and_f[t], grad_input=di_and_df[t])
        tanh_backward(dg[t], g[t], grad_input=dg[t])
        sigmoid_backward(do[t], o[t], grad_input=do[t])
        d_c = d_c.mul_(f[t])
        d_sum, *_ = norm_backward(sums[t], d_of_gates[t], gain, sum_scales[t], False)
        d_h = d_sum @ weight
    return d_gates, d_shown, d_h, d_c
