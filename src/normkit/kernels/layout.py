"""How rows along an axis lie in memory, and whether kernels that know sizes and strides can walk them as they are."""

from itertools import pairwise
from math import prod
from typing import NamedTuple

from torch import Tensor

__all__ = ["Layout", "has_gaps", "inverse", "readable", "reduced_order", "row_stride", "same_order"]


class Layout(NamedTuple):
    """Rows in memory: `outer` × `dim` × `inner`; with `inner` = 1 rows start `stride` elements apart."""

    outer: int
    dim: int
    inner: int
    stride: int


def _layout(x: Tensor, dim: int) -> Layout | None:
    """How the rows of `x` along `dim` lie in memory, if the kernels can walk them as they are."""
    dim %= x.ndim
    shape, strides = x.shape, x.stride()
    if x.is_contiguous():
        return Layout(prod(shape[:dim]), shape[dim], prod(shape[dim + 1 :]), shape[dim])
    order = _memory_order(x)
    if _is_dense(x, order):
        place = order.index(dim)
        outer, inner = (prod(shape[axis] for axis in axes) for axes in (order[:place], order[place + 1 :]))
        return Layout(outer, shape[dim], inner, shape[dim])
    # Whole rows with gaps between them, as in x[..., :n].
    leading = [axis for axis in range(x.ndim - 1) if shape[axis] != 1]
    even = all(strides[a] == strides[b] * shape[b] for a, b in pairwise(leading))
    if dim == x.ndim - 1 and strides[dim] == 1 and even and leading and strides[leading[-1]] >= shape[dim]:
        return Layout(prod(shape[:dim]), shape[dim], 1, strides[leading[-1]])
    return None


def _memory_order(x: Tensor) -> list[int]:
    """The axes from the slowest to the fastest in memory."""
    strides = x.stride()
    return sorted(range(x.ndim), key=lambda axis: (-strides[axis], axis))


def _is_dense(x: Tensor, order: list[int]) -> bool:
    """Whether the elements fill one stretch of memory, axes nested in `order`."""
    expected = 1
    for axis in reversed(order):
        if x.shape[axis] != 1:
            if x.stride(axis) != expected:
                return False
            expected *= x.shape[axis]
    return True


def reduced_order(x: Tensor, dim: int) -> list[int]:
    """In which order the axes of a tensor without `dim` must lie for the kernels to write it along rows of `x`."""
    dim %= x.ndim
    order = _memory_order(x) if _is_dense(x, _memory_order(x)) else list(range(x.ndim))
    return [axis - (axis > dim) for axis in order if axis != dim]


def inverse(order: list[int]) -> list[int]:
    """The permutation that undoes `order`."""
    return sorted(range(len(order)), key=order.__getitem__)


def readable(x: Tensor, dim: int) -> tuple[Tensor, Layout]:
    """`x`, copied only if its rows lie in no order that the kernels can walk, and its layout."""
    layout = _layout(x, dim)
    if layout is None:
        x = x.contiguous()
        layout = _layout(x, dim)
        assert layout is not None
    return x, layout


def has_gaps(x: Tensor, layout: Layout) -> bool:
    """Whether something that is not the row lies between a row and the next."""
    return layout.inner == 1 and layout.stride != layout.dim


def same_order(a: Tensor, b: Tensor) -> bool:
    """Whether corresponding elements of two tensors of one shape lie in the same order."""
    return a.stride() == b.stride() or (a.is_contiguous() and b.is_contiguous())


def row_stride(out: Tensor, layout: Layout) -> int:
    """Elements from row to row of `out`, which is written along rows of that layout or is contiguous."""
    return layout.dim if out.is_contiguous() else layout.stride
