"""The native cross-entropy made differentiable.

Class indices on plain CPU tensors whose classes are neighbours in memory go to the native kernel; probabilities as
targets, other orders of memory and everything that is traced or transformed go to torch, which fuses or batches them
itself.
"""

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import Parameter

from normkit.kernels import derivatives, native
from normkit.kernels.dispatch import forward_mode, tracing
from normkit.kernels.native_cross_entropy import Settings, cross_entropy_backward
from normkit.kernels.native_cross_entropy import cross_entropy as native_cross_entropy
from normkit.kernels.softmax import is_plain

__all__ = ["WHY_NOT", "cross_entropy", "supports"]

WHY_NOT: str = native.WHY_NOT
_PLAIN = (Tensor, Parameter)


def supports(
    op: str, input: Tensor, target: Tensor, weight: Tensor | None = None, *args: Any, **options: Any
) -> str | None:
    """None if the native kernel can do this call, else the reason why not."""
    if tracing() or forward_mode():
        return "the call is being traced or transformed"
    if type(input) not in _PLAIN or type(target) not in _PLAIN or input.is_neg():
        return "a tensor is of a subclass or a lazy view, whose memory may not hold its elements"
    if not (input.is_cpu and target.is_cpu) or input.dtype not in native.STORAGE:
        return f"it takes float32, bfloat16 and float16 on the CPU, not {input.dtype} on {input.device}"
    if target.dtype is not torch.int64:
        return f"it takes class indices (int64), not {target.dtype}"
    if input.numel() == 0:
        return "there is nothing to compute"
    if weight is not None and (not weight.is_cpu or (weight.requires_grad and torch.is_grad_enabled())):
        return "the weight is on another device or asks for a gradient"
    if input.ndim > 2 and _as_rows(input) is None:
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
    rows = input if input.ndim == 2 else _as_rows(input)
    assert rows is not None, "supports() has said that the classes are neighbours"
    if rows.stride(1) != 1 or rows.stride(0) < rows.shape[1]:
        rows = rows.contiguous()
    flat = target if target.ndim == 1 and target.is_contiguous() else target.reshape(-1)
    if weight is not None:
        weight = weight.detach().to(torch.float32).contiguous()
    settings = Settings(ignore_index, reduction, label_smoothing)
    if rows.requires_grad and torch.is_grad_enabled():
        # Not `_CrossEntropy.apply`: it looks for transforms, which `supports` has excluded.
        apply = super(torch.autograd.Function, _CrossEntropy).apply
        loss = cast(Tensor, apply(rows, flat, weight, settings))
    else:
        loss, _ = native_cross_entropy(rows, flat, weight, settings)
    return loss.view(target.shape) if reduction == "none" else loss


def _as_rows(input: Tensor) -> Tensor | None:
    """The input as (rows, classes) without a copy, None where that cannot be."""
    if input.ndim == 1:
        return input.unsqueeze(0)
    moved = input.movedim(1, -1)
    return moved.reshape(-1, input.shape[1]) if moved.is_contiguous() else None


class _CrossEntropy(torch.autograd.Function):
    """Keeps the logits, which live anyway, and three numbers a row."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, target: Tensor, weight: Tensor | None, settings: Settings) -> Tensor:
        loss, kept = native_cross_entropy(input, target, weight, settings)
        ctx.save_for_backward(input, target, weight)
        ctx.kept, ctx.settings = kept, settings
        return loss

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        input, target, weight = ctx.saved_tensors
        if torch.is_grad_enabled() or not is_plain(grads[0]):  # to be differentiated again, or batched
            dx = derivatives.cross_entropy_backward(input, target, weight, grads[0], *ctx.settings)
        else:
            dx = cross_entropy_backward(input, target, weight, ctx.kept, grads[0], ctx.settings)
        return dx, None, None, None
