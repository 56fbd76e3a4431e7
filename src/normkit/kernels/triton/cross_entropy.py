"""Cross-entropy of logits on CUDA devices with class indices: no probability is stored, forward or backward.

Beside the logits, which live anyway, the backward pass keeps two numbers a row. A class that does not exist gives NaN
in loss and gradient: the device cannot raise an error without the host waiting for it. Who looks for a fault lets the
host wait, by torch's own means (`torch.autograd.detect_anomaly()` or CUDA_LAUNCH_BLOCKING=1), and gets the error.
"""

import os
from typing import Any, NamedTuple

import torch
from torch import Tensor

from normkit.kernels import derivatives
from normkit.kernels.triton.availability import WHY_NOT
from normkit.kernels.triton.crossover import prefers
from normkit.kernels.triton.launch import chunk, launch, tile
from normkit.kernels.triton.tensors import Rows, alignment, refusal, rows

if not WHY_NOT:
    from normkit.kernels.triton.programs import cross_entropy as programs

__all__ = ["WHY_NOT", "cross_entropy", "prefers", "supports"]


class Settings(NamedTuple):
    """The arguments that are no tensors."""

    ignore_index: int
    reduction: str
    label_smoothing: float


class Kept(NamedTuple):
    """Of each row its maximum and Σ e^(x − maximum); of the batch Σ of the targets' weights and Σ of all weights."""

    m: Tensor
    total: Tensor
    divisor: Tensor | None
    all_weights: Tensor | None


def supports(
    op: str, input: Tensor, target: Tensor, weight: Tensor | None = None, *args: Any, **options: Any
) -> str | None:
    """None if the kernels can do this call, else the reason why not."""
    if torch.compiler.is_compiling():
        return "a compiler fuses the formula with what surrounds it"
    reason = refusal(input, target, weight)
    if reason is not None:
        return reason
    if target.dtype != torch.int64:
        return f"it takes class indices (int64), not {target.dtype}"
    if weight is not None and weight.requires_grad and torch.is_grad_enabled():
        return "the weight asks for a gradient"
    if input.ndim > 2 and not input.movedim(1, -1).is_contiguous():
        return "the classes are not neighbours in memory"
    return None


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy of class indices; arguments as `torch.nn.functional.cross_entropy`."""
    logits = input.movedim(1, -1).reshape(-1, input.shape[1]) if input.ndim > 2 else input.reshape(-1, input.shape[-1])
    settings = Settings(ignore_index, reduction, float(label_smoothing))
    flat = target.reshape(-1).contiguous()
    if torch.is_anomaly_enabled() or os.environ.get("CUDA_LAUNCH_BLOCKING") == "1":
        _check_classes(flat, logits.shape[1], ignore_index)
    weight = None if weight is None else weight.detach().float().contiguous()
    if logits.requires_grad and torch.is_grad_enabled():
        loss: Tensor = _CrossEntropy.apply(logits, flat, weight, settings)
    else:
        loss, _ = forward(logits, flat, weight, settings)
    return loss.view(target.shape) if reduction == "none" else loss


def _check_classes(target: Tensor, classes: int, ignore_index: int) -> None:
    """Raise IndexError for a target that is neither a class nor ignored; the host waits for the device."""
    wrong = target[((target < 0) | (target >= classes)) & (target != ignore_index)]
    if wrong.numel():
        raise IndexError(
            f"Target {int(wrong[0])} is out of bounds: there are {classes} classes, ignored {ignore_index}"
        )


def forward(input: Tensor, target: Tensor, weight: Tensor | None, settings: Settings) -> tuple[Tensor, Kept]:
    """The loss of logits (rows, classes), and what the backward pass needs."""
    x, device = rows(input), input.device
    losses, m, total = (each for each in torch.empty((3, x.number), dtype=torch.float32, device=device))
    own = torch.empty_like(losses)
    all_weights = weight.sum() if weight is not None and settings.label_smoothing else None
    align, how = _constants(x, settings)
    whole = tile("cross_entropy", x.width, input.dtype, device)
    if whole is None:
        _, block, warps = chunk("cross_entropy", input.dtype, device)
        warps *= 1 + how["SMOOTH"]  # which has more to keep in registers
        program, tiles, sizes = programs.forward_chunks, x.number, {"BLOCK": block, "num_warps": warps}
    else:
        program, tiles, sizes = programs.forward_tile, -(-x.number // whole.ROWS), whole._asdict()
    tensors = (x.tensor, target, weight, all_weights, losses, own, m, total)
    numbers = (x.number, x.width // align, x.stride // align, settings.ignore_index, settings.label_smoothing)
    launch(program, (tiles,), device, *tensors, *numbers, **how, **sizes)
    if settings.reduction == "none":
        return losses.to(input.dtype), Kept(m, total, None, all_weights)
    if settings.reduction == "sum":
        return losses.sum().to(input.dtype), Kept(m, total, None, all_weights)
    divisor = own.sum()
    return (losses.sum() / divisor).to(input.dtype), Kept(m, total, divisor, all_weights)


def backward(
    input: Tensor, target: Tensor, weight: Tensor | None, grad: Tensor, kept: Kept, settings: Settings
) -> Tensor:
    """The gradient of logits (rows, classes)."""
    x, device = rows(input), input.device
    dx = torch.empty(input.shape, dtype=input.dtype, device=device)
    align, how = _constants(x, settings)
    most = chunk("cross_entropy_backward", input.dtype, device)
    size = tile("cross_entropy_backward", x.width, input.dtype, device, most.BLOCK) or most
    grid = (-(-x.number // size.ROWS), -(-x.width // size.BLOCK))
    tensors = (x.tensor, target, weight, kept.all_weights, kept.m, kept.total, grad.contiguous(), kept.divisor, dx)
    one_each = int(settings.reduction == "none")
    numbers = (x.number, x.width // align, x.stride // align, one_each, settings.ignore_index, settings.label_smoothing)
    launch(programs.backward, grid, device, *tensors, *numbers, **how, **size._asdict())
    return dx


def _constants(x: Rows, settings: Settings) -> tuple[int, dict[str, Any]]:
    align = alignment(x.width, x.stride)
    smooth, compensate = settings.label_smoothing > 0, x.tensor.dtype == torch.float32
    return align, {"SMOOTH": smooth, "COMPENSATE": compensate, "ALIGN": align}


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, target: Tensor, weight: Tensor | None, settings: Settings) -> Tensor:
        loss, kept = forward(input, target, weight, settings)
        ctx.save_for_backward(input, target, weight, *kept)
        ctx.settings = settings
        return loss

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        input, target, weight, *kept = ctx.saved_tensors
        if torch.is_grad_enabled() or refusal(input, grads[0]) is not None:
            dx = derivatives.cross_entropy_backward(input, target, weight, grads[0], *ctx.settings)
        else:
            dx = backward(input, target, weight, grads[0], Kept(*kept), ctx.settings)
        return dx, None, None, None
