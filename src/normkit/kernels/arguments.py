"""Checks of arguments that operations share; each message says what came, what was wanted and what to do."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from normkit.kernels.dispatch import tracing

__all__ = [
    "axis",
    "check_accuracy",
    "check_counter",
    "check_eps",
    "check_float",
    "check_normalized_shape",
    "check_out",
    "check_residual",
    "check_sum_is_kept",
    "mixed_residual",
]


def check_accuracy(op: str, accuracy: str) -> None:
    """Raise ValueError unless `accuracy` is "default" or "high"."""
    if accuracy not in ("default", "high"):
        raise ValueError(f"{op}: accuracy is 'default' or 'high', not {accuracy!r}")


def check_float(op: str, input: Tensor, **others: Tensor | None) -> None:
    """Raise TypeError, naming what came, unless `input` is a real floating-point tensor and `others` are tensors."""
    if not isinstance(input, Tensor):
        raise _no_tensor(op, "input", input)
    for name, value in others.items():
        if value is not None and not isinstance(value, Tensor):
            raise _no_tensor(op, name, value)
    if not input.is_floating_point():
        raise TypeError(f"{op}: input must be a float tensor, got {input.dtype}; convert it first, e.g. x.float()")


def _no_tensor(op: str, name: str, value: Any) -> TypeError:
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    return TypeError(f"{op}: {name} must be a torch.Tensor, got {kind}; torch.as_tensor makes one of an array")


def axis(input: Tensor, dim: int) -> int:
    """`dim` counted from the front; IndexError in torch's wording if the input has no such axis."""
    size = max(input.ndim, 1)
    if not -size <= dim < size:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-size}, {size - 1}], but got {dim})")
    return dim % size


def check_eps(op: str, eps: float | None) -> None:
    """Raise ValueError for an `eps` that is negative or NaN."""
    if eps is not None and not eps >= 0:
        raise ValueError(f"{op}: eps must be at least 0, got {eps}")


def check_normalized_shape(
    op: str, input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None
) -> None:
    """Raise ValueError unless `normalized_shape` is the tail of `input`'s shape and the shape of the parameters."""
    wanted = tuple(normalized_shape)
    if not wanted or input.shape[-len(wanted) :] != wanted:
        raise ValueError(
            f"{op}: normalized_shape {wanted} must be the trailing axes of the input, whose shape is "
            f"{tuple(input.shape)}"
        )
    if weight is not None and weight.shape != wanted:
        raise ValueError(f"{op}: weight must have the shape {wanted}, got {tuple(weight.shape)}")
    if bias is not None and bias.shape != wanted:
        raise ValueError(f"{op}: bias must have the shape {wanted}, got {tuple(bias.shape)}")


def check_residual(op: str, input: Tensor, residual: Tensor | None) -> torch.dtype:
    """The dtype of `input` + `residual`; raise ValueError unless both have the same shape."""
    if residual is None:
        return input.dtype
    if residual.shape != input.shape:
        raise ValueError(
            f"{op}: residual must have the input's shape {tuple(input.shape)}, got {tuple(residual.shape)}"
        )
    return torch.result_type(input, residual)


def check_sum_is_kept(op: str, out: Tensor, input: Tensor, residual: Tensor | None, prenorm: bool) -> None:
    """Raise ValueError where `out` overwrites the input that `prenorm` shall return beside the result."""
    if not prenorm or residual is not None:
        return
    if out is input or (not tracing() and out.data_ptr() == input.data_ptr()):
        raise ValueError(
            f"{op}: prenorm=True returns the input, which out= would overwrite; give out= memory of its own or leave it"
        )


# The place of a residual among the arguments after the input.
_RESIDUAL = {"layer_norm": 4, "rms_norm": 6}


def mixed_residual(op: str, input: Tensor, args: Sequence[Any]) -> str | None:
    """The objection of a kernel that adds the residual itself to one of another dtype than the input's."""
    place = _RESIDUAL.get(op, len(args))
    residual = args[place] if place < len(args) else None
    if residual is None or residual.dtype == input.dtype:
        return None
    return f"the residual is {residual.dtype} and the input {input.dtype}"


def check_out(op: str, out: Tensor, shape: Sequence[int], dtype: torch.dtype, *inputs: Tensor | None) -> None:
    """Raise ValueError unless `out` can receive a result of this shape and dtype computed from `inputs`.

    `out` may be one of the inputs (in place) or lie apart from them, but not overlap them in part; and neither it nor
    they may need a gradient, which an overwritten tensor cannot give.
    """
    if tuple(out.shape) != tuple(shape):
        raise ValueError(f"{op}: out must have the shape {tuple(shape)}, got {tuple(out.shape)}")
    if out.dtype != dtype:
        raise ValueError(f"{op}: out must be {dtype}, got {out.dtype}")
    tensors = [tensor for tensor in inputs if tensor is not None]
    if any(tensor.device != out.device for tensor in tensors):
        raise ValueError(f"{op}: out is on {out.device}, the input on {tensors[0].device}")
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in [out, *tensors]):
        raise ValueError(
            f"{op}: out= gives no gradient, but an argument requires one; use torch.no_grad() or leave out="
        )
    if tracing():
        return
    if not out.is_contiguous() and torch._debug_has_internal_overlap(out) == 1:
        raise ValueError(f"{op}: elements of out share memory (strides {out.stride()}); give a tensor of its own")
    if any(_partial_overlap(out, tensor) for tensor in tensors):
        raise ValueError(f"{op}: out overlaps an input in part; give the input itself or memory of its own")


def _partial_overlap(out: Tensor, tensor: Tensor) -> bool:
    if out is tensor:
        return False
    if out.is_contiguous() and tensor.is_contiguous():
        start, other = out.data_ptr(), tensor.data_ptr()
        end, other_end = start + out.nbytes, other + tensor.nbytes
        return start < other_end and other < end and (start, end, out.shape) != (other, other_end, tensor.shape)
    same = (out.data_ptr(), out.shape, out.stride()) == (tensor.data_ptr(), tensor.shape, tensor.stride())
    return not same and np.shares_memory(_window(out), _window(tensor))


class _Memory:
    """Where a tensor lies, for numpy's overlap solver: it computes with addresses and reads nothing."""

    def __init__(self, tensor: Tensor) -> None:
        size = tensor.element_size()
        self.__array_interface__ = {
            "version": 3,
            "data": (tensor.data_ptr(), False),
            "shape": tuple(tensor.shape),
            "strides": tuple(size * stride for stride in tensor.stride()),
            "typestr": f"|V{size}",
        }


def _window(tensor: Tensor) -> NDArray[Any]:
    return np.asarray(_Memory(tensor))


def check_counter(name: str, label: str, counter: Tensor) -> None:
    """Raise TypeError or ValueError unless `counter` is one whole number, without axes, that a call can add to."""
    if counter.is_floating_point() or counter.is_complex() or counter.dtype == torch.bool:
        raise TypeError(f"{name}: {label} counts steps and must be a whole number, got {counter.dtype}")
    if counter.ndim:
        raise ValueError(f"{name}: {label} must be one number without axes, got the shape {tuple(counter.shape)}")
