"""EvoNorm-S0 of dense CUDA tensors (batch, channels, *space): y = x·σ(v x) / sqrt(s² + ε) · γ + β.

x is read once where a group is small, and otherwise a second time out of the cache; of the size of x, x alone is kept
for the backward pass.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from normkit.kernels.reference import evonorm as reference
from normkit.kernels.triton.availability import WHY_NOT
from normkit.kernels.triton.crossover import prefers
from normkit.kernels.triton.launch import launch
from normkit.kernels.triton.tensors import alignment, refusal

if not WHY_NOT:
    from normkit.kernels.triton.programs import evonorm_s0 as programs

__all__ = ["WHY_NOT", "evonorm_s0", "prefers", "supports"]

ELEMENTS = 4096  # of a tile
WHOLE = 8192  # of the largest group that is kept in registers


class _Shape(NamedTuple):
    """A tile of channels × space, its warps, and whether it holds a whole group."""

    channels: int
    space: int
    warps: int
    whole: bool


def supports(
    op: str, input: Tensor, weight: Tensor, bias: Tensor, v: Tensor | None, *args: Any, **_: Any
) -> str | None:
    """None if the kernels can do this call, else the reason why not."""
    if torch.compiler.is_compiling():
        return "a compiler fuses the formula with what surrounds it"
    reason = refusal(input, weight, bias, v)
    if reason is not None:
        return reason
    if v is None:
        return "without v nothing is normalised"
    return None if input.is_contiguous() else "the channels of a sample do not lie one after the other in memory"


def evonorm_s0(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    v: Tensor,
    groups: int,
    eps: float = 1e-5,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """EvoNorm-S0 with its activation."""
    if torch.is_grad_enabled() and any(each.requires_grad for each in (input, weight, bias, v)):
        y: Tensor = _EvoNormS0.apply(input, weight, bias, v, groups, eps)
        return y
    if out is None or not out.is_contiguous():
        y = forward(input, weight, bias, v, groups, eps)[0]
        return y if out is None else out.copy_(y)
    increment_version(out)  # autograd must see that what it may have saved has been overwritten
    return forward(input, weight, bias, v, groups, eps, out)[0]


def forward(
    input: Tensor, weight: Tensor, bias: Tensor, v: Tensor, groups: int, eps: float, out: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """y, and mean and 1/std of each sample's groups; no autograd."""
    y = torch.empty_like(input) if out is None else out
    batch, channels = input.shape[0], input.shape[1] // groups
    mean, rstd = torch.empty((2, batch * groups), dtype=torch.float32, device=input.device)
    space = input[0, 0].numel()
    align = alignment(space)
    shape = _shape(channels, space, WHOLE)
    tensors = (input, *(each.contiguous() for each in (weight, bias, v)), y, mean, rstd)
    sizes = (groups, channels, space // align, float(eps))
    how = {"ALIGN": align, "CHANNELS": shape.channels, "SPACE": shape.space, "num_warps": shape.warps}
    launch(programs.forward, (batch * groups,), input.device, *tensors, *sizes, WHOLE=shape.whole, **how)
    return y, mean, rstd


def backward(
    input: Tensor, grad: Tensor, weight: Tensor, v: Tensor, mean: Tensor, rstd: Tensor, groups: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, γ, β and v."""
    dx = torch.empty_like(input)
    batch, channels = input.shape[0], input.shape[1] // groups
    sums = torch.empty((3, batch, input.shape[1]), dtype=torch.float32, device=input.device)
    space = input[0, 0].numel()
    align = alignment(space)
    shape = _shape(channels, space, 0)
    tensors = (input, grad.contiguous(), weight.contiguous(), v.contiguous(), mean, rstd, dx, sums)
    sizes = (batch, groups, channels, space // align)
    how = {"ALIGN": align, "CHANNELS": shape.channels, "SPACE": shape.space, "num_warps": shape.warps}
    launch(programs.backward, (batch * groups,), input.device, *tensors, *sizes, **how)
    dw, db, dv = sums.sum(1)
    return dx, dw, db, dv


def _shape(channels: int, space: int, whole: int) -> _Shape:
    wide, high = _power_of_two(space), _power_of_two(channels)
    if wide * high <= whole:
        return _Shape(high, wide, max(1, min(16, wide * high // 512)), True)
    wide = min(wide, ELEMENTS)
    high = min(high, ELEMENTS // wide)
    return _Shape(high, wide, max(1, min(8, wide * high // 512)), False)


def _power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()


class _EvoNormS0(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor, v: Tensor, groups: int, eps: float) -> Tensor:
        y, mean, rstd = forward(input, weight, bias, v, groups, eps)
        ctx.save_for_backward(input, weight, bias, v, mean, rstd)
        ctx.groups, ctx.eps = groups, eps
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        input, weight, bias, v, mean, rstd = ctx.saved_tensors
        if torch.is_grad_enabled() or refusal(input, grads[0]) is not None:

            def formula(x: Tensor, weight: Tensor, bias: Tensor, v: Tensor) -> Tensor:
                return reference.evonorm_s0(x, weight, bias, v, ctx.groups, ctx.eps)

            _, pull = torch.func.vjp(formula, input, weight, bias, v)
            return *pull(grads[0]), None, None
        dx, dw, db, dv = backward(input, grads[0], weight, v, mean, rstd, ctx.groups)
        return dx, dw.to(weight.dtype), db.to(bias.dtype), dv.to(v.dtype), None, None
