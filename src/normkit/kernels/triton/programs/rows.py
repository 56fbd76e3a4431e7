"""Which rows and columns a program works on, and how they are read."""

import triton.language as tl

from normkit.kernels.triton.programs.jit import program

__all__ = ["columns_of", "rows_of", "wide"]


@program
def rows_of(index, rows, ROWS: tl.constexpr):
    """Row numbers [ROWS, 1] of the tile `index` and which of them exist."""
    row = tl.arange(0, ROWS)[:, None].to(tl.int64) + index * ROWS
    return row, row < rows


@program
def columns_of(start, width, BLOCK: tl.constexpr):
    """Column numbers [1, BLOCK] from `start` on and which of them exist."""
    column = start + tl.arange(0, BLOCK)[None, :]
    return column, column < width


@program
def wide(pointer, mask, other):
    """Read as float32."""
    return tl.load(pointer, mask=mask, other=other).to(tl.float32)
