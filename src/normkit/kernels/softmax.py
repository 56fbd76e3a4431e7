"""The native softmax family made differentiable, and known to torch's tracers.

A plain CPU tensor goes straight to the native kernel, through an `autograd.Function` where a gradient is asked for or
a transform of `torch.func` is at work. Where a tensor has no address (`torch.compile`, `torch.export`, FakeTensor,
inside `vmap`) the call goes through the operators of `kernels/operators.py`, whose CPU implementation is the same
kernel.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_legacy_batchedtensor, peek_interpreter_stack
from torch.autograd import forward_ad
from torch.autograd.graph import increment_version
from torch.nn import Parameter

from normkit.kernels import derivatives, native, operators
from normkit.kernels.dispatch import KernelError, exporting, forward_mode, tracing

__all__ = [
    "LOGSUMEXP_CODE",
    "LOG_SOFTMAX_CODE",
    "SOFTMAX_CODE",
    "WHY_NOT",
    "is_plain",
    "log_softmax",
    "logsumexp",
    "short_rows",
    "short_rows_into",
    "softmax",
    "supports",
    "three_pass_recompute",
    "three_pass_reload",
    "two_pass_paper",
]

WHY_NOT: str = native.WHY_NOT
SOFTMAX_CODE: int = native.SOFTMAX
LOG_SOFTMAX_CODE: int = native.LOG_SOFTMAX
LOGSUMEXP_CODE: int = native.LOGSUMEXP
# So few elements leave their gradient to torch's own node: to make one in Python costs more than the kernels do.
_SMALL = 2048


def _short_rows(operation: int, x: Tensor, out: None = None, dim: int = -1) -> Tensor | None:
    """Softmax of dense rows on the CPU that ask for no gradient; None for all else."""
    if dim not in (-1, x.ndim - 1):
        return None
    if operation != SOFTMAX_CODE or type(x) is not Tensor or x.dtype is not torch.float32 or x.requires_grad:
        return None
    if WHY_NOT or tracing() or not x.is_cpu or not x.is_contiguous() or is_legacy_batchedtensor(x):
        return None
    return native.fast_softmax(x) if x.ndim and x.numel() else None


# (operation, x, out=None, dim=-1): a dense CPU tensor that asks for no gradient; None for all else. Where torch hands
# out its DLPack exchange table (2.10 on), one call into the native part looks at the tensor, allocates and computes;
# asking torch for each property from Python takes half a microsecond more.
short_rows: Callable[..., Tensor | None] = getattr(native, "short_rows", None) or _short_rows


def short_rows_into(operation: int, x: Tensor, out: Tensor, dim: int = -1) -> Tensor | None:
    """As `short_rows`, into `out`, which may be `x` itself; None where `out` does not plainly fit as well."""
    if native.short_rows is None or out.shape != (x.shape[:-1] if operation == LOGSUMEXP_CODE else x.shape):
        return None
    y = native.short_rows(operation, x, out, dim)
    if y is not None:
        increment_version(y)  # autograd must see that what it may have saved has been overwritten
    return y


def supports(op: str, input: Tensor, dim: int, *args: Any, **options: Any) -> str | None:
    """None if the native kernel can do this call, else the reason why not."""
    if exporting():
        return "an exported program runs where normkit is not: it holds torch's operators"
    reason = native.supports(op, input, dim)
    if reason is not None or torch.compiler.is_compiling():
        return reason
    if forward_mode():
        return "it has no forward-mode derivative"
    if type(input) in (Tensor, Parameter) or tracing():
        return None
    return f"the input is a {type(input).__name__}, which may keep its elements in a way of its own"


def softmax(
    input: Tensor,
    dim: int,
    accuracy: str = "default",
    masked_zero: bool = False,
    deterministic: bool = False,
    *,
    out: Tensor | None = None,
    variant: str = "",
) -> Tensor:
    """y = e^x / Σ e^x along `dim`; `variant` names one of the paper's own algorithms."""
    if input.requires_grad and torch.is_grad_enabled() and is_plain(input) and input.numel() <= _SMALL:
        y = torch.softmax(input, dim)  # its node keeps y for the backward pass, whose elements are ours from here on
        operators.compute_softmax(input.detach(), dim, accuracy, masked_zero, deterministic, variant, out=y.detach())
        return y
    return _call(_Softmax, input, dim, accuracy, masked_zero, deterministic, variant, out=out)


def _papers_own(
    variant: str,
    input: Tensor,
    dim: int,
    accuracy: str = "default",
    masked_zero: bool = False,
    deterministic: bool = False,
    *,
    out: Tensor | None = None,
) -> Tensor:
    if input.dtype != torch.float32 or dim != input.ndim - 1 or not input.is_contiguous():
        raise KernelError(f"kernel {variant!r} takes contiguous float32 rows along the last axis and nothing else")
    if accuracy != "default" or masked_zero or deterministic:
        raise KernelError(f"kernel {variant!r} knows neither accuracy='high' nor masked_zero nor deterministic")
    return softmax(input, dim, out=out, variant=variant)


two_pass_paper = partial(_papers_own, "two-pass-paper")
three_pass_reload = partial(_papers_own, "three-pass-reload")
three_pass_recompute = partial(_papers_own, "three-pass-recompute")


def log_softmax(
    input: Tensor,
    dim: int,
    accuracy: str = "default",
    masked_zero: bool = False,
    deterministic: bool = False,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """y = x − log Σ e^x along `dim`."""
    return _call(_LogSoftmax, input, dim, accuracy, masked_zero, deterministic, out=out)


def logsumexp(input: Tensor, dim: int, keepdim: bool = False) -> Tensor:
    """L = log Σ e^x along `dim`."""
    total = _call(_LogSumExp, input, dim)
    return total.unsqueeze(dim) if keepdim else total


class _Differentiable(torch.autograd.Function):
    """What the three have in common: how they are computed at an address, and anywhere else."""

    generate_vmap_rule = True
    kernel: Callable[..., Tensor]
    operator: Callable[..., Tensor]
    code: int
    usual: tuple[Any, ...]  # what follows `dim` in the commonest call

    @classmethod
    def compute(cls, input: Tensor, dim: int, *how: Any) -> Tensor:
        x = input.detach()
        if how == cls.usual and (how or dim == x.ndim - 1):  # one call into the native part, where it takes the tensor
            y = short_rows(cls.code, x, None, dim if how else -1)
            if y is not None:
                return y
        return (cls.kernel if is_plain(input) else cls.operator)(x, dim, *how)


class _Softmax(_Differentiable):
    kernel = staticmethod(operators.compute_softmax)
    operator = staticmethod(operators.softmax)
    code = SOFTMAX_CODE
    usual = ("default", False, False, "")

    @staticmethod
    def forward(input: Tensor, *how: Any) -> Tensor:
        return _Softmax.compute(input, *how)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(output)
        ctx.dim = inputs[1]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (y,), (dy,) = ctx.saved_tensors, grads
        dx = _quick_gradient(SOFTMAX_CODE, y, dy, ctx.dim)
        if dx is None:
            dx = _backward(native.softmax_backward, derivatives.softmax_backward, y, dy, ctx.dim)
        return dx, None, None, None, None, None


class _LogSoftmax(_Differentiable):
    kernel = staticmethod(operators.compute_log_softmax)
    operator = staticmethod(operators.log_softmax)
    code = LOG_SOFTMAX_CODE
    usual = ("default", False, False)

    @staticmethod
    def forward(input: Tensor, *how: Any) -> Tensor:
        return _LogSoftmax.compute(input, *how)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(output)
        ctx.dim, ctx.masked_zero = inputs[1], inputs[3]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        kernel, formula = native.log_softmax_backward, derivatives.log_softmax_backward
        (log_y,), (dy,) = ctx.saved_tensors, grads
        dx = None if ctx.masked_zero else _quick_gradient(LOG_SOFTMAX_CODE, log_y, dy, ctx.dim)
        if dx is None:
            dx = _backward(kernel, formula, log_y, dy, ctx.dim, ctx.masked_zero)
        return dx, None, None, None, None


class _LogSumExp(_Differentiable):
    kernel = staticmethod(native.logsumexp)
    operator = staticmethod(operators.logsumexp)
    code = LOGSUMEXP_CODE
    usual = ()

    @staticmethod
    def forward(input: Tensor, dim: int) -> Tensor:
        return _LogSumExp.compute(input, dim)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], output)
        ctx.dim = inputs[1]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        kernel, formula = native.logsumexp_backward, derivatives.logsumexp_backward
        return _backward(kernel, formula, *ctx.saved_tensors, grads[0], ctx.dim), None


def _call(function: type[_Differentiable], input: Tensor, *how: Any, out: Tensor | None = None) -> Tensor:
    if is_plain(input):
        if input.requires_grad and torch.is_grad_enabled():
            # Not `function.apply`: it binds arguments and looks for transforms, which takes longer than a short row.
            return super(torch.autograd.Function, function).apply(input, *how)
        if out is None:
            return function.kernel(input, *how)
        increment_version(out)
        return function.kernel(input, *how, out=out)
    transformed = not torch.compiler.is_compiling() and peek_interpreter_stack() is not None
    y = (function.apply if transformed else function.operator)(input, *how)
    return y if out is None else out.copy_(y)


def _quick_gradient(operation: int, y: Tensor, dy: Tensor, dim: int) -> Tensor | None:
    """By one call into the native part, where rows are dense and nothing is recorded; None for all else."""
    if torch.is_grad_enabled() or dim not in (-1, y.ndim - 1) or forward_ad._current_level >= 0:
        return None
    return native.fast_gradient(operation, y, dy)


def _backward(kernel: Callable[..., Tensor], formula: Callable[..., Tensor], *args: Any) -> Tensor:
    """By the native kernel, or by the formula where the result is to be differentiated again or is being traced."""
    if torch.is_grad_enabled() or not all(is_plain(arg) for arg in args if isinstance(arg, Tensor)):
        return formula(*args)
    return kernel(*args)


def is_plain(tensor: Tensor) -> bool:
    """Whether the tensor's address is where its elements are, and a result may be computed behind torch's back."""
    if tracing() or forward_ad._current_level >= 0 or type(tensor) not in (Tensor, Parameter):
        return False
    return not (tensor.is_neg() or tensor._is_zerotensor() or is_legacy_batchedtensor(tensor))  # is_grads_batched=True
