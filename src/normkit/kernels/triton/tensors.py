"""How a tensor looks to a row kernel, and which tensors they take."""

from math import gcd
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter

from normkit.kernels.dispatch import forward_mode, tracing
from normkit.kernels.triton.availability import INTERPRETED, WHY_NOT

__all__ = ["DTYPES", "Rows", "alignment", "refusal", "rows", "written_rows"]

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_LARGEST = 2**31 - 2**16  # columns are counted in 32 bits, and the last block of a row may reach beyond its end


class Rows(NamedTuple):
    """A tensor as `number` rows of `width` elements that lie side by side, `stride` elements from row to row."""

    tensor: Tensor
    number: int
    width: int
    stride: int


def rows(tensor: Tensor, width: int | None = None) -> Rows:
    """The tensor's last axis, or its last `width` elements, as rows; copied only if its rows are not dense."""
    width = tensor.shape[-1] if width is None else width
    if tensor.is_contiguous():
        return Rows(tensor, tensor.numel() // width, width, width)
    flat = tensor.reshape(-1, width)
    if (width > 1 and flat.stride(1) != 1) or flat.stride(0) > _LARGEST or flat.stride(0) < 0:
        flat = flat.contiguous()
    # What is expanded has stride 0, which is a stride like any other for what is only read.
    return Rows(flat, flat.shape[0], width, flat.stride(0) if flat.shape[0] > 1 else width)


def written_rows(tensor: Tensor, width: int | None = None) -> Rows | None:
    """The same of a tensor that shall be written; None if its rows do not lie where a kernel can write them."""
    return rows(tensor, width) if tensor.is_contiguous() else None


def alignment(*sizes: int) -> int:
    """The largest power of two up to 16 that divides all sizes."""
    return gcd(16, *sizes)


def refusal(input: Tensor, *others: Any) -> str | None:
    """Why no row kernel can take the input and the tensors that go with it; None if they can."""
    if WHY_NOT:
        return WHY_NOT
    if not (input.is_cuda or (INTERPRETED and input.is_cpu)):
        return f"the input is on {input.device}, not on a CUDA device"
    if input.dtype not in DTYPES:
        return f"the Triton kernels take float32, bfloat16 and float16, not {input.dtype}"
    if input.layout is not torch.strided:
        return f"the Triton kernels take dense tensors, not {input.layout}"
    for other in others:
        if isinstance(other, Tensor) and (other.device != input.device or other.dtype not in (*DTYPES, torch.int64)):
            return f"an argument is {other.dtype} on {other.device}, the input {input.dtype} on {input.device}"
    return _untouchable(input) or _size(input)


def _untouchable(input: Tensor) -> str | None:
    if torch.compiler.is_compiling():
        return "Triton's interpreter cannot be traced" if INTERPRETED else None
    if tracing():
        return "torch's operators are being recorded or transformed, which passes its own only"
    if forward_mode():
        return "it has no forward-mode derivative"
    if type(input) not in (Tensor, Parameter) or input.is_neg() or torch._C._functorch.is_legacy_batchedtensor(input):
        return f"the input is a {type(input).__name__} that may keep its elements in a way of its own"
    return None


def _size(input: Tensor) -> str | None:
    if input.ndim == 0:
        return "the input is a scalar"
    if input.numel() == 0:
        return "the input is empty"
    return None if input.shape[-1] < _LARGEST else f"rows of {input.shape[-1]} elements are too long"
