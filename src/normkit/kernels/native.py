"""The C++ softmax family on CPU tensors: no autograd, no tracing, just numbers.

    softmax      y = e^x / Σ e^x
    log_softmax  y = x − log Σ e^x
    logsumexp    L = log Σ e^x

Exponentials share one power of two a row instead of having the row's maximum subtracted, and sums are carried in
double: Dukhan and Ablavatski 2020, arXiv:2001.04438, with the changes that `native/core/exponential.hpp` explains.
Half types are computed in float32 and rounded once. `out` may be an input itself, or memory apart from all inputs.
"""

from collections.abc import Callable
from typing import Any

import torch  # first: it brings the OpenMP runtime that the native part then shares
from jaxtyping import Float
from torch import Tensor

from normkit.kernels.layout import Layout, has_gaps, inverse, readable, reduced_order, row_stride, same_order

try:
    from normkit import _native
except ModuleNotFoundError:
    WHY_NOT = (
        "normkit was installed without its C++ part (no C++ compiler or no Python headers then, or "
        "NORMKIT_NO_NATIVE=1); with a compiler, `pip install --force-reinstall --no-deps normkit` builds it"
    )
except ImportError as error:
    WHY_NOT = f"normkit's C++ part does not load: {error}"
else:
    WHY_NOT = ""
AVAILABLE: bool = not WHY_NOT

__all__ = [
    "AVAILABLE",
    "LOGSUMEXP",
    "LOG_SOFTMAX",
    "SOFTMAX",
    "STORAGE",
    "WHY_NOT",
    "fast_gradient",
    "fast_softmax",
    "fresh",
    "log_softmax",
    "log_softmax_backward",
    "logsumexp",
    "logsumexp_backward",
    "loss_of_rows",
    "openmp_runtimes",
    "short_rows",
    "softmax",
    "softmax_backward",
    "softmax_pair",
    "supports",
]

SOFTMAX, LOG_SOFTMAX, LOGSUMEXP, _SOFTMAX_BACKWARD, _LOG_SOFTMAX_BACKWARD, _LOGSUMEXP_BACKWARD, _SOFTMAX_PAIR = range(7)
OPERATIONS = ("softmax", "log_softmax", "logsumexp")
HUGE_PAGES_FROM = 4 << 20  # bytes of a fresh output from which on huge pages are asked for

_empty_like = torch.empty_like
_threads = torch.get_num_threads
STORAGE: dict[torch.dtype, int] = {}
_VARIANTS: dict[str | None, int] = {None: 0}
if AVAILABLE:
    _softmax_float32 = _native.softmax_float32
    STORAGE |= {
        torch.float32: _native.FLOAT32,
        torch.bfloat16: _native.BFLOAT16,
        torch.float16: _native.FLOAT16,
    }
    _VARIANTS |= {
        "short-row": _native.SHORT_ROW,
        "reload": _native.RELOAD,
        "scratch": _native.SCRATCH,
        "two-pass": _native.TWO_PASS,
        "two-pass-paper": _native.TWO_PASS_PAPER,
        "three-pass-reload": _native.THREE_PASS_RELOAD,
        "three-pass-recompute": _native.THREE_PASS_RECOMPUTE,
    }


# (operation, x, out=None, dim=-1) -> the result, or None. An operation on a dense CPU tensor of a type that the kernels
# take and that asks for no gradient (log-sum-exp: float32 along the last axis), everything checked in C++; None for all
# else, and where a dispatch mode is at work. An `out` must have the shape of the result. None in place of the function:
# torch is older than 2.10 and offers no table.
short_rows: Callable[..., Tensor | None] | None = None

# The same for group norm, and for the row norms forward and backward; see `native/python/{planes,norms}.hpp`.
group_norm_rows: Callable[..., Tensor | None] | None = None
norm_rows: Callable[..., Any] | None = None
norm_rows_backward: Callable[..., Any] | None = None
if AVAILABLE and hasattr(Tensor, "__dlpack_c_exchange_api__"):
    _usable = _native.use_torch(
        Tensor,
        torch.nn.Parameter,
        torch.empty_like,
        torch.empty,
        torch._C._len_torch_dispatch_stack,
        torch._C._is_tracing,
        torch.get_num_threads,
        Tensor.__dlpack_c_exchange_api__,
    )
    short_rows = _native.short_rows if _usable else None
    group_norm_rows = _native.group_norm_rows if _usable else None
    norm_rows = _native.norm_rows if _usable else None
    norm_rows_backward = _native.norm_rows_backward if _usable else None
    loss_of_rows = _native.loss_of_rows


def supports(op_name: str, x: Float[Tensor, "..."], dim: int) -> str | None:
    """None if the native kernel can compute operation `op_name` of `x` along `dim`, else the reason why not."""
    if not AVAILABLE:
        return WHY_NOT
    if op_name not in OPERATIONS:
        return f"there is no native kernel for {op_name}"
    if not x.is_cpu:
        return f"the input is on {x.device}, not on the CPU"
    if x.dtype not in STORAGE:
        return f"the native kernels take float32, bfloat16 and float16, not {x.dtype}"
    if x.layout is not torch.strided:
        return f"the native kernels take dense tensors, not {x.layout}"
    return None if x.ndim else "the input is a scalar"


def fast_softmax(
    x: Float[Tensor, "*rows dim"], out: Float[Tensor, "*rows dim"] | None = None
) -> Float[Tensor, "*rows dim"]:
    """Softmax over the last axis of contiguous float32 CPU tensors with at least one element.

    Checks nothing; the caller has. For a torch without `short_rows`.
    """
    size = x.numel()
    dim = x.shape[-1]
    y = fresh(x) if out is None else out
    _softmax_float32(x.data_ptr(), y.data_ptr(), size // dim, dim, _threads())
    return y


def softmax(
    x: Float[Tensor, "*shape"],
    dim: int,
    *,
    out: Float[Tensor, "*shape"] | None = None,
    variant: str | None = None,
    accuracy: str = "default",
    masked_zero: bool = False,
    deterministic: bool = False,
) -> Float[Tensor, "*shape"]:
    """y_i = e^(x_i) / Σ_j e^(x_j) along `dim`.

    Args:
        x: float32, bfloat16 or float16 on the CPU, any shape and strides.
        dim: the axis that is normalised.
        out: receives y.
        variant: how rows are walked, for measurements: "short-row", "reload", "scratch", "two-pass", or one of the
            paper's own algorithms, "two-pass-paper", "three-pass-reload", "three-pass-recompute" (contiguous float32
            rows only); None chooses by size.
        accuracy: "high" takes one more term of the exponential's polynomial.
        masked_zero: a row that is all −inf gives zeros, not NaN.
        deterministic: the result does not depend on the number of threads.

    Raises:
        RuntimeError: there is no native part, or NORMKIT_ISA names an instruction set that this processor lacks.
        ValueError: the variant is unknown or cannot do this call.
    """
    return _elementwise(SOFTMAX, x, dim, out, _flags(accuracy, masked_zero, deterministic, variant))


def log_softmax(
    x: Float[Tensor, "*shape"],
    dim: int,
    *,
    out: Float[Tensor, "*shape"] | None = None,
    variant: str | None = None,
    accuracy: str = "default",
    masked_zero: bool = False,
    deterministic: bool = False,
) -> Float[Tensor, "*shape"]:
    """y_i = x_i − log Σ_j e^(x_j) along `dim`; arguments as `softmax`, a masked row gives −inf.

    The logarithm is subtracted in two parts, so that its rounding does not show in y.
    """
    return _elementwise(LOG_SOFTMAX, x, dim, out, _flags(accuracy, masked_zero, deterministic, variant))


def logsumexp(
    x: Float[Tensor, "..."],
    dim: int,
    *,
    out: Float[Tensor, "..."] | None = None,
    accuracy: str = "default",
    deterministic: bool = False,
) -> Float[Tensor, "..."]:
    """L = log Σ_j e^(x_j) along `dim`, which is left out of the result; −inf for a row that is all −inf or empty."""
    flags = _flags(accuracy, False, deterministic, None)
    if _contiguous_rows(dim, x) and x.shape[-1] and (out is None or out.is_contiguous()):
        total = x.new_empty(x.shape[:-1]) if out is None else out
        _run_rows(LOGSUMEXP, x, None, total, flags)
        return total
    x, layout = readable(x, dim)
    shape = [*x.shape]
    del shape[dim]
    order = reduced_order(x, dim)
    in_order = order == sorted(order)
    if out is not None and in_order and out.is_contiguous():
        total = out
    else:
        total = x.new_empty([shape[axis] for axis in order]).permute(inverse(order))
    if layout.dim == 0:
        total.fill_(-torch.inf)
    else:
        _run(LOGSUMEXP, x, None, total, layout, layout.stride, flags)
    return total if out is None or total is out else out.copy_(total)


def softmax_pair(x: Float[Tensor, "*rows dim"]) -> Float[Tensor, "2 *rows"]:
    """Mantissas and exponents of Σ_j e^(x_j) over the last axis of a contiguous tensor; float32 for half types too."""
    pair = x.new_empty((2, *x.shape[:-1]), dtype=torch.float32)
    _run_rows(_SOFTMAX_PAIR, x, None, pair, _flags("default", False, False, None))
    return pair


def fast_gradient(operation: int, y: Tensor, dy: Tensor) -> Tensor | None:
    """The backward pass of SOFTMAX or LOG_SOFTMAX along the last axis of dense float32 rows; None for all else."""
    return None if short_rows is None else _native.gradient_rows(operation + _SOFTMAX_BACKWARD, y, dy)


def softmax_backward(
    y: Float[Tensor, "*shape"], dy: Float[Tensor, "*shape"], dim: int, *, out: Float[Tensor, "*shape"] | None = None
) -> Float[Tensor, "*shape"]:
    """The gradient dx = y (dy − Σ y dy), y the softmax."""
    return _gradient(_SOFTMAX_BACKWARD, y, dy, dim, out, 0)


def log_softmax_backward(
    log_y: Float[Tensor, "*shape"],
    dy: Float[Tensor, "*shape"],
    dim: int,
    masked_zero: bool = False,
    *,
    out: Float[Tensor, "*shape"] | None = None,
) -> Float[Tensor, "*shape"]:
    """The gradient dx = dy − e^(log y) Σ dy, log y the log-softmax; `masked_zero`: rows all −inf get zeros."""
    return _gradient(_LOG_SOFTMAX_BACKWARD, log_y, dy, dim, out, _flags("default", masked_zero, False, None))


def logsumexp_backward(
    x: Float[Tensor, "..."],
    total: Float[Tensor, "..."],
    grad: Float[Tensor, "..."],
    dim: int,
    *,
    out: Float[Tensor, "..."] | None = None,
) -> Float[Tensor, "..."]:
    """The gradient dx = dL softmax(x), from x and dL; L itself (`total`) is not read.

    e^(x − L) would carry the rounding of L, 4e-6 at |L| = 100; the sum is taken again instead.
    """
    del total
    x, layout = readable(x, dim)
    dx = _writable(x, layout, out)
    factors = grad.permute(reduced_order(x, dim)).contiguous()
    _run(_LOGSUMEXP_BACKWARD, x, factors, dx, layout, row_stride(dx, layout), 0)
    return dx if out is None or dx is out else out.copy_(dx)


def openmp_runtimes() -> list[str]:
    """Files of the OpenMP runtimes that this process has loaded (Linux; elsewhere empty). More than one is slow."""
    try:
        with open("/proc/self/maps", encoding="utf-8") as maps:
            files = {line.split(maxsplit=5)[5].strip() for line in maps if line.count("/")}
    except OSError:
        return []
    return sorted(file for file in files if any(name in file for name in ("libgomp", "libiomp", "libomp.")))


def _flags(accuracy: str, masked_zero: bool, deterministic: bool, variant: str | None) -> int:
    if not AVAILABLE:
        raise RuntimeError(WHY_NOT)
    if accuracy == "default" and variant is None and not masked_zero and not deterministic:
        return 0
    if variant not in _VARIANTS:
        raise ValueError(f"there is no softmax variant {variant!r}; there are {', '.join(filter(None, _VARIANTS))}")
    return (
        (_native.HIGH if accuracy == "high" else 0)
        | (_native.MASKED_ZERO if masked_zero else 0)
        | (_native.DETERMINISTIC if deterministic else 0)
        | _VARIANTS[variant]
    )


def _writable(x: Tensor, layout: Layout, out: Tensor | None) -> Tensor:
    """`out` if rows of `x` can be written there in the same order, else fresh memory of that order."""
    if out is not None and (same_order(out, x) or (has_gaps(x, layout) and out.is_contiguous())):
        return out
    return fresh(x, contiguous=has_gaps(x, layout))


def fresh(x: Tensor, *, contiguous: bool = False) -> Tensor:
    """Memory like that of `x`; a large one asks for huge pages, whose absence would cost more than the kernel."""
    out = _empty_like(x, memory_format=torch.contiguous_format) if contiguous else _empty_like(x)
    nbytes = out.numel() * out.element_size()
    if nbytes >= HUGE_PAGES_FROM:
        _native.advise_huge_pages(out.data_ptr(), nbytes)
    return out


def _contiguous_rows(dim: int, *tensors: Tensor | None) -> bool:
    """Whether all these tensors are contiguous and `dim` is their last axis: the common case, told at once."""
    for x in tensors:  # noqa: SIM110 - a generator would cost more than what it looks at
        if x is not None and not (x.is_contiguous() and (dim == -1 or dim == x.ndim - 1)):
            return False
    return True


def _elementwise(operation: int, x: Tensor, dim: int, out: Tensor | None, flags: int) -> Tensor:
    if _contiguous_rows(dim, x, out):
        y = fresh(x) if out is None else out
        _run_rows(operation, x, None, y, flags)
        return y
    x, layout = readable(x, dim)
    y = _writable(x, layout, out)
    _run(operation, x, None, y, layout, row_stride(y, layout), flags)
    return y if out is None or y is out else out.copy_(y)


def _gradient(operation: int, y: Tensor, dy: Tensor, dim: int, out: Tensor | None, flags: int) -> Tensor:
    if _contiguous_rows(dim, y, dy, out) and y.dtype is dy.dtype:
        dx = fresh(y) if out is None else out
        _run_rows(operation, y, dy, dx, flags)
        return dx
    y, layout = readable(y, dim)
    if not same_order(dy, y) or dy.dtype != y.dtype:
        y, layout = readable(y.contiguous(), dim) if has_gaps(y, layout) else (y, layout)
        dy = _empty_like(y).copy_(dy)
    dx = _writable(y, layout, out)
    _run(operation, y, dy, dx, layout, row_stride(dx, layout), flags)
    return dx if out is None or dx is out else out.copy_(dx)


def _run_rows(operation: int, a: Tensor, b: Tensor | None, out: Tensor, flags: int) -> None:
    """Run on contiguous tensors along their last axis."""
    size = a.numel()
    if size == 0:
        return
    dim = a.shape[-1]
    if operation == SOFTMAX and flags == 0 and a.dtype is torch.float32:
        _softmax_float32(a.data_ptr(), out.data_ptr(), size // dim, dim, _threads())
        return
    b_address = 0 if b is None else b.data_ptr()
    _native.run(
        operation,
        STORAGE[a.dtype],
        a.data_ptr(),
        b_address,
        out.data_ptr(),
        size // dim,
        dim,
        1,
        dim,
        dim,
        dim,
        _threads(),
        flags,
    )


def _run(operation: int, a: Tensor, b: Tensor | None, out: Tensor, layout: Layout, out_stride: int, flags: int) -> None:
    _native.run(
        operation,
        STORAGE[a.dtype],
        a.data_ptr(),
        0 if b is None else b.data_ptr(),
        out.data_ptr(),
        layout.outer,
        layout.dim,
        layout.inner,
        layout.stride,
        layout.stride,
        out_stride,
        _threads(),
        flags,
    )
