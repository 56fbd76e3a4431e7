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
from normkit.kernels.native_cross_entropy import REDUCTIONS, Settings, cross_entropy_backward
from normkit.kernels.native_cross_entropy import cross_entropy as native_cross_entropy
from normkit.kernels.softmax import is_plain

__all__ = ["WHY_NOT", "cross_entropy", "loss_of_rows", "prefers", "supports"]

WHY_NOT: str = native.WHY_NOT
_BREAK_EVEN = 24 << 10  # elements
_PLAIN = (Tensor, Parameter)
_Found = tuple[Tensor, Tensor, Tensor | None]  # loss, what the backward pass needs, dx


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
    if target._is_zerotensor() or input._is_zerotensor() or (weight is not None and weight.is_neg()):
        return "a tensor's memory does not hold its elements"
    if weight is not None and (not weight.is_cpu or (weight.requires_grad and torch.is_grad_enabled())):
        return "the weight is on another device or asks for a gradient"
    if input.ndim > 2 and _as_rows(input) is None:
        return "the classes are not neighbours in memory"
    return None


def prefers(op: str, input: Tensor, *args: Any, **options: Any) -> str | None:
    """None, or why torch is quicker: with `normkit.benchmarks.cross_entropy` the two break even at about this size.

    Below it the calls from Python take longer than either kernel. (Unweighted means and sums of float32 rows do not
    come here: `loss_of_rows` has done them.)
    """
    if input.numel() < _BREAK_EVEN:
        return f"torch is quicker below {_BREAK_EVEN} elements"
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
    flat = target.reshape(-1).contiguous()
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


def loss_of_rows(
    input: Tensor, target: Tensor, ignore_index: int, reduction: str, label_smoothing: float
) -> Tensor | None:
    """The mean or sum of the losses of dense float32 rows on the CPU with a class each; None for all else.

    One call into the native part looks at the tensors, allocates and computes. Where a gradient is asked for and it
    stays in cache, it is computed at once, for a loss whose own gradient is 1: the commonest, and a multiplication away
    from any other.
    """
    wanted = input.requires_grad and torch.is_grad_enabled()
    found = _loss_of_rows(input, target, ignore_index, REDUCTIONS.index(reduction), label_smoothing, wanted)
    if found is None or not wanted:
        return found and found[0]
    settings = Settings(ignore_index, reduction, label_smoothing)
    return cast(Tensor, super(torch.autograd.Function, _Computed).apply(input, target, found, settings))


def _none_of_rows(*args: Any) -> None:
    """In place of the native part where there is none, or torch offers no table to look at tensors by."""


_loss_of_rows = _none_of_rows if native.short_rows is None else native.loss_of_rows


class _Computed(torch.autograd.Function):
    """A loss that comes with its gradient, or with what is needed to compute that."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, target: Tensor, found: _Found, settings: Settings) -> Tensor:
        loss, ctx.kept, ctx.dx = found
        ctx.settings = settings
        ctx.save_for_backward(input, target)
        return loss

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        dx, ctx.dx = ctx.dx, None  # given away: what receives it may change it, and a second pass computes its own
        if dx is None or torch.is_grad_enabled() or not is_plain(grad):
            input, target = ctx.saved_tensors
            return _gradient(ctx, input, target, None, grad), None, None, None
        factor = grad.item()
        return (dx if factor == 1.0 else dx.mul_(factor)), None, None, None


def _gradient(ctx: Any, input: Tensor, target: Tensor, weight: Tensor | None, grad: Tensor) -> Tensor:
    if torch.is_grad_enabled() or not is_plain(grad):  # to be differentiated again, or batched
        return derivatives.cross_entropy_backward(input, target, weight, grad, *ctx.settings)
    return cross_entropy_backward(input, target, weight, ctx.kept, grad, ctx.settings)


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
        return _gradient(ctx, input, target, weight, grads[0]), None, None, None
