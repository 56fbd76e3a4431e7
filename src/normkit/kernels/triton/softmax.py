"""Softmax, log-softmax and log-sum-exp along the last axis of CUDA tensors.

    softmax      y = e^x / Σ e^x
    log_softmax  y = x − log Σ e^x
    logsumexp    L = log Σ e^x

A result is the same from run to run: every order of summation is fixed by shape, dtype and device.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from normkit.kernels import derivatives, operators
from normkit.kernels.triton.availability import INTERPRETED, WHY_NOT
from normkit.kernels.triton.crossover import prefers
from normkit.kernels.triton.launch import chunk, launch, pieces, tile
from normkit.kernels.triton.tensors import Rows, alignment, refusal, rows

if not WHY_NOT:
    from normkit.kernels.triton.programs import softmax as programs

__all__ = ["OPERATORS", "WHY_NOT", "log_softmax", "logsumexp", "prefers", "softmax", "supports"]

SOFTMAX, LOG_SOFTMAX, LOGSUMEXP = range(3)
WIDEST_BACKWARD = 16384  # y and dy in registers: twice as many would spill


def supports(op: str, input: Tensor, dim: int, *args: Any, **options: Any) -> str | None:
    """None if the kernels can do this call, else the reason why not."""
    reason = refusal(input)
    if reason is not None:
        return reason
    if dim % input.ndim != input.ndim - 1:
        return "the axis is not the last one"
    if "high" in (*args[:1], options.get("accuracy")):
        return "it has one accuracy, the default"
    return None


def softmax(
    input: Tensor,
    dim: int,
    accuracy: str = "default",
    masked_zero: bool = False,
    deterministic: bool = False,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """y = e^x / Σ e^x along the last axis."""
    if torch.compiler.is_compiling():
        return operators.softmax(input, dim, accuracy, masked_zero, deterministic, "")
    if input.requires_grad and torch.is_grad_enabled():
        return _Softmax.apply(input, SOFTMAX, masked_zero)
    return forward(SOFTMAX, input, masked_zero, out)


def log_softmax(
    input: Tensor,
    dim: int,
    accuracy: str = "default",
    masked_zero: bool = False,
    deterministic: bool = False,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """y = x − log Σ e^x along the last axis."""
    if torch.compiler.is_compiling():
        return operators.log_softmax(input, dim, accuracy, masked_zero, deterministic)
    if input.requires_grad and torch.is_grad_enabled():
        return _Softmax.apply(input, LOG_SOFTMAX, masked_zero)
    return forward(LOG_SOFTMAX, input, masked_zero, out)


def logsumexp(input: Tensor, dim: int, keepdim: bool = False) -> Tensor:
    """L = log Σ e^x along the last axis."""
    if torch.compiler.is_compiling():
        total = operators.logsumexp(input, dim)
    elif input.requires_grad and torch.is_grad_enabled():
        total = _LogSumExp.apply(input)
    else:
        total = total_of_rows(input).to(input.dtype)
    return total.unsqueeze(-1) if keepdim else total


# --- launches ---


def forward(kind: int, input: Tensor, masked_zero: bool = False, out: Tensor | None = None) -> Tensor:
    """Softmax or log-softmax along the last axis, no autograd."""
    direct = out is None or out.is_contiguous()
    y = out if out is not None and direct else torch.empty(input.shape, dtype=input.dtype, device=input.device)
    if out is not None and direct:
        increment_version(out)  # autograd must see that what it may have saved has been overwritten
    _forward(kind, rows(input), y, masked_zero)
    return y if out is None or direct else out.copy_(y)


def total_of_rows(input: Tensor) -> Tensor:
    """L in float32 whatever the input type: the gradient needs its digits."""
    total = torch.empty(input.shape[:-1], dtype=torch.float32, device=input.device)
    _forward(LOGSUMEXP, rows(input), total, False)
    return total


def _forward(kind: int, x: Rows, y: Tensor, masked_zero: bool) -> None:
    dtype, device = x.tensor.dtype, x.tensor.device
    how = {"KIND": kind, "MASKED_ZERO": masked_zero, "COMPENSATE": dtype == torch.float32}
    align = alignment(x.width, x.stride)
    sizes = (x.width // align, x.stride // align, x.width // align)
    whole = tile("softmax", x.width, dtype, device)
    if whole is not None:
        tiles = -(-x.number // whole.ROWS)
        tensors = (x.tensor, y, x.number)
        launch(programs.forward_tile, (tiles,), device, *tensors, *sizes, **how, ALIGN=align, **whole._asdict())
        return
    _, block, warps = chunk("softmax", dtype, device)
    constants = {"ALIGN": align, "BLOCK": block, "num_warps": warps}
    parts, piece = pieces(x.number, x.width, block, device)
    if parts == 1:
        launch(programs.forward_chunks, (x.number,), device, x.tensor, y, x.number, *sizes, **how, **constants)
        return
    m, total = torch.empty((2, x.number, parts), dtype=torch.float32, device=device)
    grid = (x.number, parts)
    first = {"COMPENSATE": how["COMPENSATE"], **constants}
    launch(programs.sum_pieces, grid, device, x.tensor, m, total, *sizes[:2], piece, **first)
    width = _power_of_two(parts)
    if kind == LOGSUMEXP:
        launch(programs.logsumexp_pieces, (x.number,), device, m, total, y, parts, PARTS=width, num_warps=1)
        return
    launch(programs.forward_pieces, grid, device, x.tensor, y, m, total, *sizes, piece, **how, **constants, PARTS=width)


def backward(kind: int, output: Tensor, grad: Tensor, masked_zero: bool = False) -> Tensor:
    """dx of softmax or log-softmax from y and dy."""
    y, dy = rows(output), rows(grad)
    dtype, device = output.dtype, output.device
    dx = torch.empty(output.shape, dtype=dtype, device=device)
    how = {"KIND": kind, "MASKED_ZERO": masked_zero and kind == LOG_SOFTMAX}
    align = alignment(y.width, y.stride, dy.stride)
    sizes = tuple(size // align for size in (y.width, y.stride, dy.stride, y.width))
    tensors = (y.tensor, dy.tensor, dx)
    whole = tile("softmax_backward", y.width, dtype, device, WIDEST_BACKWARD)
    if whole is not None:
        tiles = -(-y.number // whole.ROWS)
        how |= {"ALIGN": align, **whole._asdict()}
        launch(programs.backward_tile, (tiles,), device, *tensors, y.number, *sizes, **how)
        return dx
    _, block, warps = chunk("softmax_backward", dtype, device)
    constants = {"ALIGN": align, "BLOCK": block, "num_warps": warps}
    parts, piece = pieces(y.number, y.width, block, device)
    if parts == 1:
        launch(programs.backward_chunks, (y.number,), device, *tensors, y.number, *sizes, **how, **constants)
        return dx
    total, largest = torch.empty((2, y.number, parts), dtype=torch.float32, device=device)
    grid = (y.number, parts)
    sums = (y.tensor, dy.tensor, total, largest)
    launch(programs.dot_pieces, grid, device, *sums, *sizes[:3], piece, KIND=kind, **constants)
    how["PARTS"] = _power_of_two(parts)
    launch(programs.backward_pieces, grid, device, *tensors, total, largest, *sizes, piece, **how, **constants)
    return dx


def logsumexp_backward(input: Tensor, total: Tensor, grad: Tensor) -> Tensor:
    """dx = dL·e^(x − L); L and dL lack the last axis."""
    x = rows(input)
    device = input.device
    dx = torch.empty(input.shape, dtype=input.dtype, device=device)
    align = alignment(x.width, x.stride)
    _, block, warps = chunk("logsumexp_backward", input.dtype, device)
    block = min(block, max(16, _power_of_two(x.width)))
    constants = {"ALIGN": align, "BLOCK": block, "num_warps": max(1, min(warps, block // 256))}
    sizes = (x.width // align, x.stride // align, x.width // align)
    grid = (x.number, -(-x.width // block))
    tensors = (x.tensor, total.contiguous(), grad.contiguous(), dx)
    launch(programs.logsumexp_backward, grid, device, *tensors, *sizes, **constants)
    return dx


def _power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()


# --- derivatives ---


class _Softmax(torch.autograd.Function):
    """Softmax and log-softmax: both need only their result and its gradient."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, kind: int, masked_zero: bool) -> Tensor:
        y = forward(kind, input, masked_zero)
        ctx.save_for_backward(y)
        ctx.kind, ctx.masked_zero = kind, masked_zero
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (y,) = ctx.saved_tensors
        if not torch.is_grad_enabled() and refusal(grads[0]) is None:
            return backward(ctx.kind, y, grads[0], ctx.masked_zero), None, None
        if ctx.kind == SOFTMAX:
            return derivatives.softmax_backward(y, grads[0], -1), None, None
        return derivatives.log_softmax_backward(y, grads[0], -1, ctx.masked_zero), None, None


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor) -> Tensor:
        total = total_of_rows(input)
        y = total.to(input.dtype)
        ctx.save_for_backward(input, y, total)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        input, y, total = ctx.saved_tensors
        if not torch.is_grad_enabled() and refusal(input, grads[0]) is None:
            return logsumexp_backward(input, total, grads[0])
        return derivatives.logsumexp_backward(input, y, grads[0], -1)


# --- the operators that torch traces ---


def _operator_softmax(input: Tensor, dim: int, accuracy: str, masked_zero: bool, *_: Any) -> Tensor:
    return forward(SOFTMAX, input.movedim(dim, -1), masked_zero).movedim(-1, dim)


def _operator_log_softmax(input: Tensor, dim: int, accuracy: str, masked_zero: bool, *_: Any) -> Tensor:
    return forward(LOG_SOFTMAX, input.movedim(dim, -1), masked_zero).movedim(-1, dim)


def _operator_logsumexp(input: Tensor, dim: int) -> Tensor:
    return total_of_rows(input.movedim(dim, -1)).to(input.dtype)


def _operator_softmax_backward(output: Tensor, grad: Tensor, dim: int) -> Tensor:
    return backward(SOFTMAX, output.movedim(dim, -1), grad.movedim(dim, -1)).movedim(-1, dim)


def _operator_log_softmax_backward(output: Tensor, grad: Tensor, dim: int, masked_zero: bool) -> Tensor:
    return backward(LOG_SOFTMAX, output.movedim(dim, -1), grad.movedim(dim, -1), masked_zero).movedim(-1, dim)


def _operator_logsumexp_backward(input: Tensor, output: Tensor, grad: Tensor, dim: int) -> Tensor:
    return logsumexp_backward(input.movedim(dim, -1), output, grad).movedim(-1, dim)


OPERATORS: dict[str, Callable[..., Tensor]] = {
    "softmax": _operator_softmax,
    "log_softmax": _operator_log_softmax,
    "logsumexp": _operator_logsumexp,
    "softmax_backward": _operator_softmax_backward,
    "log_softmax_backward": _operator_log_softmax_backward,
    "logsumexp_backward": _operator_logsumexp_backward,
}
if not (WHY_NOT or INTERPRETED):
    for _name, _kernel in OPERATORS.items():
        operators.implement(_name, _kernel, "CUDA")
