"""The native softmax family as operators that torch can trace, transform and export: `torch.ops.normkit.*`.

Each has the native kernel as CPU implementation, a fake kernel (shapes only), a derivative and a rule for `vmap`. Eager
calls do not come here: an operator's way through the dispatcher costs several times the kernel on a short row.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from normkit.kernels import derivatives, native

__all__ = ["compute_log_softmax", "compute_softmax", "implement", "log_softmax", "logsumexp", "softmax"]

# Kept alive by the module: the operators vanish with their library.
_LIBRARY = torch.library.Library("normkit", "FRAGMENT")
_SCHEMAS = {
    "softmax": "(Tensor input, int dim, str accuracy, bool masked_zero, bool deterministic, str variant) -> Tensor",
    "log_softmax": "(Tensor input, int dim, str accuracy, bool masked_zero, bool deterministic) -> Tensor",
    "logsumexp": "(Tensor input, int dim) -> Tensor",
    "softmax_backward": "(Tensor output, Tensor grad, int dim) -> Tensor",
    "log_softmax_backward": "(Tensor output, Tensor grad, int dim, bool masked_zero) -> Tensor",
    "logsumexp_backward": "(Tensor input, Tensor output, Tensor grad, int dim) -> Tensor",
}
for _name, _schema in _SCHEMAS.items():
    _LIBRARY.define(_name + _schema, tags=(torch.Tag.pt2_compliant_tag,))

softmax = torch.ops.normkit.softmax.default
log_softmax = torch.ops.normkit.log_softmax.default
logsumexp = torch.ops.normkit.logsumexp.default
_softmax_backward = torch.ops.normkit.softmax_backward.default
_log_softmax_backward = torch.ops.normkit.log_softmax_backward.default
_logsumexp_backward = torch.ops.normkit.logsumexp_backward.default


# --- what each operator computes ---


def compute_softmax(
    input: Tensor,
    dim: int,
    accuracy: str,
    masked_zero: bool,
    deterministic: bool,
    variant: str,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """The native softmax with the operator's own arguments."""
    return native.softmax(
        input,
        dim,
        out=out,
        variant=variant or None,
        accuracy=accuracy,
        masked_zero=masked_zero,
        deterministic=deterministic,
    )


def compute_log_softmax(
    input: Tensor, dim: int, accuracy: str, masked_zero: bool, deterministic: bool, *, out: Tensor | None = None
) -> Tensor:
    """The native log-softmax with the operator's own arguments."""
    return native.log_softmax(
        input, dim, out=out, accuracy=accuracy, masked_zero=masked_zero, deterministic=deterministic
    )


def _like_first(first: Tensor, *_: Any) -> Tensor:
    """What the fake kernels promise: shape, dtype and memory order of the first argument."""
    return torch.empty_like(first)


def _promised(compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Keep that promise where the kernel found another memory order quicker."""

    def kept(first: Tensor, *rest: Any) -> Tensor:
        result = compute(first, *rest)
        if first.is_contiguous() or result.stride() == torch.empty_like(first, device="meta").stride():
            return result
        return torch.empty_like(first).copy_(result)

    return kept


def _reduced(input: Tensor, dim: int) -> Tensor:
    """What log-sum-exp's fake kernel promises: dense, without the axis."""
    shape = list(input.shape)
    del shape[dim]
    return input.new_empty(shape)


_KERNELS: dict[str, Callable[..., Tensor]] = {
    "softmax": _promised(compute_softmax),
    "log_softmax": _promised(compute_log_softmax),
    "logsumexp": native.logsumexp,
    "softmax_backward": _promised(native.softmax_backward),
    "log_softmax_backward": _promised(native.log_softmax_backward),
    "logsumexp_backward": _promised(native.logsumexp_backward),
}
for _name, _kernel in _KERNELS.items():
    _LIBRARY.impl(_name, _kernel, "CPU")
    torch.library.register_fake(f"normkit::{_name}", _reduced if _name == "logsumexp" else _like_first, lib=_LIBRARY)


def implement(name: str, kernel: Callable[..., Tensor], device: str) -> None:
    """Give an operator its kernel on another kind of device ("CUDA")."""
    _LIBRARY.impl(name, kernel if name == "logsumexp" else _promised(kernel), device)


# --- derivatives ---


def _keep_output(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(output)
    ctx.dim, ctx.masked_zero = inputs[1], inputs[3]


def _softmax_derivative(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    (output,) = ctx.saved_tensors
    return _softmax_backward(output, grad, ctx.dim), None, None, None, None, None


def _log_softmax_derivative(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    (output,) = ctx.saved_tensors
    return _log_softmax_backward(output, grad, ctx.dim, ctx.masked_zero), None, None, None, None


def _keep_both(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0], output)
    ctx.dim = inputs[1]


def _logsumexp_derivative(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return _logsumexp_backward(*ctx.saved_tensors, grad, ctx.dim), None


def _second_derivative(formula: Callable[..., Tensor], tensors: int) -> tuple[Callable[..., Any], Callable[..., None]]:
    """Derivative of a backward operator: that of the formula it computes, which begins with so many tensors."""

    def keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:tensors])
        ctx.rest = inputs[tensors:]

    def derivative(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        _, pull_back = torch.func.vjp(lambda *saved: formula(*saved, *ctx.rest), *ctx.saved_tensors)
        return *pull_back(grad), *(None for _ in ctx.rest)

    return derivative, keep


def _differentiable(name: str, derivative: Callable[..., Any], keep: Callable[..., None]) -> None:
    torch.library.register_autograd(f"normkit::{name}", derivative, setup_context=keep, lib=_LIBRARY)


_differentiable("softmax", _softmax_derivative, _keep_output)
_differentiable("log_softmax", _log_softmax_derivative, _keep_output)
_differentiable("logsumexp", _logsumexp_derivative, _keep_both)
_differentiable("softmax_backward", *_second_derivative(derivatives.softmax_backward, 2))
_differentiable("log_softmax_backward", *_second_derivative(derivatives.log_softmax_backward, 2))
_differentiable("logsumexp_backward", *_second_derivative(derivatives.logsumexp_backward, 3))


# --- vmap ---


def _batched(operator: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, int]]:
    """The batch becomes the first axis of every tensor, and `dim`, if counted from the front, moves up by one."""

    def rule(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Tensor, int]:
        tensors = [arg for arg in args if isinstance(arg, Tensor)]
        moved = [
            tensor.expand(info.batch_size, *tensor.shape) if axis is None else tensor.movedim(axis, 0)
            for tensor, axis in zip(tensors, in_dims, strict=False)
        ]
        dim, *rest = args[len(tensors) :]
        return operator(*moved, dim if dim < 0 else dim + 1, *rest), 0

    return rule


for _name in _SCHEMAS:
    torch.library.register_vmap(f"normkit::{_name}", _batched(getattr(torch.ops.normkit, _name).default), lib=_LIBRARY)
