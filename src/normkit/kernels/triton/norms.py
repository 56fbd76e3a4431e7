"""LayerNorm, RMSNorm and CRMSNorm of CUDA tensors, each also of x + residual: y, and the sum if it is wanted.

    layer_norm  y = (x − μ) / sqrt(σ² + eps) · weight + bias
    rms_norm    y = x / sqrt(mean(x²) + eps) · (offset + weight) + bias
    crms_norm   y = x / sqrt((Σ x² + (Σ x)²) / (D + 1) + eps) · weight

Statistics are float32. A gradient is the same from run to run: parameters' gradients are summed in a fixed order.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from normkit.kernels import reference
from normkit.kernels.arguments import mixed_residual
from normkit.kernels.triton.availability import WHY_NOT
from normkit.kernels.triton.crossover import prefers
from normkit.kernels.triton.launch import Tile, chunk, launch, multiprocessors, tile
from normkit.kernels.triton.tensors import Rows, alignment, refusal, rows

if not WHY_NOT:
    from normkit.kernels.triton.programs import norms as programs

__all__ = ["WHY_NOT", "crms_norm", "layer_norm", "prefers", "rms_norm", "supports"]

LAYER, RMS, CRMS = range(3)
# Backwards x, dy and two running sums share the registers.
WIDEST_BACKWARD = 8192
_PROGRAMS_A_PROCESSOR = 4


class Norm(NamedTuple):
    """Which norm it is: everything about a call but its tensors."""

    kind: int
    width: int
    eps: float
    offset: float = 0.0
    cast: str = "torch"

    def rounded(self, dtype: torch.dtype) -> bool:
        """Whether every step is rounded to the input's type (Llama's way); in float32 there is nothing to round."""
        return self.cast == "llama" and dtype != torch.float32

    def formula(
        self, input: Tensor, residual: Tensor | None, weight: Tensor | None, bias: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The reference, (y, x + residual), to be differentiated again."""
        summed = input if residual is None else input + residual
        flat = summed.reshape(-1, self.width)
        shape = (self.width,)
        weight, bias = (None if each is None else each.reshape(-1) for each in (weight, bias))
        y: Any
        if self.kind == LAYER:
            y = reference.norms.layer_norm(flat, shape, weight, bias, self.eps)
        elif self.kind == RMS:
            y = reference.norms.rms_norm(flat, shape, weight, self.eps, bias, self.offset, self.cast)
        else:
            y = reference.norms.crms_norm(flat, weight, self.eps)
        return y.view(summed.shape), summed


def supports(op: str, input: Tensor, *args: Any, **options: Any) -> str | None:
    """None if the kernels can do this call, else the reason why not."""
    if torch.compiler.is_compiling():
        return "a compiler fuses the formula with what surrounds it"
    return mixed_residual(op, input, args) or refusal(input, *args, *options.values())


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    residual: Tensor | None = None,
    prenorm: bool = False,
    *,
    out: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """LayerNorm of the input, or of its sum with the residual, over the trailing axes; with `prenorm` the sum too."""
    y, summed = compute(Norm(LAYER, prod(normalized_shape), eps), input, residual, weight, bias, out)
    return (y, summed) if prenorm else y


def rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    eps: float | None,
    bias: Tensor | None = None,
    offset: float = 0.0,
    cast: str = "torch",
    residual: Tensor | None = None,
    prenorm: bool = False,
    *,
    out: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """RMSNorm, otherwise as `layer_norm`; `cast` says when half precision is rounded."""
    eps = torch.finfo(torch.float32).eps if eps is None else eps
    norm = Norm(RMS, prod(normalized_shape), eps, offset, cast)
    y, summed = compute(norm, input, residual, weight, bias, out)
    return (y, summed) if prenorm else y


def crms_norm(input: Tensor, weight: Tensor | None, eps: float, *, out: Tensor | None = None) -> Tensor:
    """RMSNorm of a zero-mean vector of which the last entry is not stored."""
    return compute(Norm(CRMS, input.shape[-1], eps), input, None, weight, None, out)[0]


def compute(
    norm: Norm,
    input: Tensor,
    residual: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    out: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """y and the sum that was normalised."""
    tensors = (input, residual, weight, bias)
    if torch.is_grad_enabled() and any(each is not None and each.requires_grad for each in tensors):
        return _Norm.apply(*tensors, norm)
    direct = out if out is not None and out.is_contiguous() else None
    if direct is not None:
        increment_version(direct)  # autograd must see that what it may have saved has been overwritten
    y, summed, *_ = forward(norm, *tensors, direct)
    return (y if out is None or direct is not None else out.copy_(y)), summed


# --- launches ---


def forward(
    norm: Norm,
    input: Tensor,
    residual: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    out: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """y, the sum, μ or Σ x of each row (nothing for RMSNorm) and 1/sqrt of each; no autograd."""
    x = rows(input, norm.width)
    r = None if residual is None else rows(residual, norm.width)
    dtype, device = input.dtype, input.device
    y = torch.empty(input.shape, dtype=dtype, device=device) if out is None else out
    summed = None if r is None else torch.empty(input.shape, dtype=dtype, device=device)
    mean, rstd = torch.empty((2, x.number), dtype=torch.float32, device=device)
    align = alignment(x.width, x.stride, 0 if r is None else r.stride)
    sizes = [size // align for size in (x.width, x.stride, 0 if r is None else r.stride)]
    how, whole = _tile("norm", norm, x, align)
    tensors = (x.tensor, None if r is None else r.tensor, summed, _dense(weight), _dense(bias), y, mean, rstd)
    program = programs.forward_chunks if whole is None else programs.forward_tile
    tiles = x.number if whole is None else -(-x.number // whole.ROWS)
    launch(program, (tiles,), device, *tensors, x.number, *sizes, float(norm.eps), float(norm.offset), **how)
    return y, input if summed is None else summed, mean, rstd


def _tile(op: str, norm: Norm, x: Rows, align: int, widest: int = 0) -> tuple[dict[str, Any], Tile | None]:
    """The constants of a launch, and the tile if it holds a whole row."""
    dtype, device = x.tensor.dtype, x.tensor.device
    how = {"KIND": norm.kind, "ROUNDED": norm.rounded(dtype), "ALIGN": align}
    whole = tile(op, x.width, dtype, device, widest)
    if whole is not None:
        return how | whole._asdict(), whole
    _, block, warps = chunk(op, dtype, device)
    return how | {"BLOCK": block, "num_warps": warps}, None


def _dense(parameter: Tensor | None) -> Tensor | None:
    return None if parameter is None else parameter.contiguous()


def backward(
    norm: Norm,
    summed: Tensor,
    weight: Tensor | None,
    mean: Tensor,
    rstd: Tensor,
    grad: Tensor,
    grad_sum: Tensor | None,
    dtypes: Sequence[torch.dtype | None],
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Gradients of the sum, and of weight and bias where `dtypes` has one for them."""
    x, dy = rows(summed, norm.width), rows(grad, norm.width)
    ds = None if grad_sum is None else rows(grad_sum, norm.width)
    strides = (x.stride, dy.stride, 0 if ds is None else ds.stride)
    align = alignment(x.width, *strides)
    sizes = [size // align for size in (x.width, *strides)]
    how, whole = _tile("norm_backward", norm, x, align, WIDEST_BACKWARD)
    device = summed.device
    tiles = x.number if whole is None else -(-x.number // whole.ROWS)
    number = min(tiles, _side_by_side(how["num_warps"], whole is None, device)) if any(dtypes) else tiles
    lines = torch.empty((sum(map(bool, dtypes)), number, x.width), dtype=torch.float32, device=device)
    dw, db = lines[0] if dtypes[0] else None, lines[-1] if dtypes[1] else None
    dx = torch.empty(summed.shape, dtype=summed.dtype, device=device)
    tensors = (x.tensor, dy.tensor, None if ds is None else ds.tensor, _dense(weight), mean, rstd, dx, dw, db)
    program = programs.backward_chunks if whole is None else programs.backward_tile
    launch(program, (number,), device, *tensors, x.number, *sizes, float(norm.offset), **how)
    return dx, *sum_lines(lines, dtypes)


def _side_by_side(warps: int, in_memory: bool, device: torch.device) -> int:
    """Programs that walk over rows: as many as run at once, so that there are few lines to add up.

    Lines that are kept in memory shall stay in the L2 cache, which is why there are fewer of them.
    """
    return multiprocessors(device) * (2 if in_memory else max(1, min(_PROGRAMS_A_PROCESSOR, 32 // warps)))


def sum_lines(lines: Tensor, dtypes: Sequence[torch.dtype | None]) -> tuple[Tensor | None, Tensor | None]:
    """Sums over the second axis, one for each of the two dtypes that is given, in that dtype."""
    width, device = lines.shape[2], lines.device
    first, second = (None if each is None else torch.empty(width, dtype=each, device=device) for each in dtypes)
    wanted = [each for each in (first, second) if each is not None]
    if wanted:
        grid = (-(-width // 64), len(wanted))
        results = (wanted[0], wanted[1] if len(wanted) == 2 else None)
        launch(programs.sum_lines, grid, device, lines, *results, lines.shape[1], width, ROWS=32, BLOCK=64, num_warps=4)
    return first, second


# --- derivative ---


class _Norm(torch.autograd.Function):
    """Returns y and the sum that was normalised (the input itself where nothing is added)."""

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, residual: Tensor | None, weight: Tensor | None, bias: Tensor | None, norm: Norm
    ) -> tuple[Tensor, Tensor]:
        y, summed, mean, rstd = forward(norm, input, residual, weight, bias)
        ctx.save_for_backward(input if residual is None else summed, weight, bias, mean, rstd)
        ctx.norm, ctx.added = norm, residual is not None
        ctx.set_materialize_grads(False)
        return y, summed

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        grad, grad_sum = grads
        summed, weight, bias, mean, rstd = ctx.saved_tensors
        if grad is None:
            return grad_sum, grad_sum if ctx.added else None, None, None, None
        if torch.is_grad_enabled() or refusal(summed, grad, grad_sum) is not None:
            dx, dw, db = _again(ctx.norm, summed, weight, bias, grad, grad_sum)
        else:
            wanted = (weight if ctx.needs_input_grad[2] else None, bias if ctx.needs_input_grad[3] else None)
            dtypes = [None if each is None else each.dtype for each in wanted]
            dx, dw, db = backward(ctx.norm, summed, weight, mean, rstd, grad, grad_sum, dtypes)
        return dx, dx if ctx.added else None, _like(dw, weight), _like(db, bias), None


def _again(
    norm: Norm, summed: Tensor, weight: Tensor | None, bias: Tensor | None, grad: Tensor, grad_sum: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The same gradients by the formula, differentiable themselves."""

    def apply(*present: Tensor) -> Tensor:
        rest = iter(present[1:])
        w, b = (None if each is None else next(rest) for each in (weight, bias))
        return norm.formula(present[0], None, w, b)[0]

    primals = [summed, *(each for each in (weight, bias) if each is not None)]
    pull: Callable[..., Any]
    _, pull = torch.func.vjp(apply, *primals)
    dx, *rest = pull(grad)
    found = iter(rest)
    dw, db = (None if each is None else next(found) for each in (weight, bias))
    return dx if grad_sum is None else dx + grad_sum, dw, db


def _like(gradient: Tensor | None, parameter: Tensor | None) -> Tensor | None:
    return None if gradient is None or parameter is None else gradient.view(parameter.shape)
