"""Device programs of norms whose statistics belong to the channels: affine passes over rows, with the channels' sums.

A program takes one block of channels, the same in all rows that it walks, and keeps its sums in registers; where groups
of channels have scales of their own in each row, the block is a group. Everything is computed in float32.
"""

import triton.language as tl

from normkit.kernels.triton.programs.jit import program
from normkit.kernels.triton.programs.rows import rows_of, wide

__all__ = ["backward", "forward"]


@program
def _channels(width, channels, BLOCK: tl.constexpr):
    """Channel numbers [1, BLOCK] of this program and which of them are its own."""
    inner = tl.arange(0, BLOCK)[None, :]
    column = tl.program_id(1) * width + inner
    return column, (inner < width) & (column < channels)


@program
def _store_sum(lines_ptr, column, inside, channels, total):
    line = tl.program_id(0).to(tl.int64) * channels
    tl.store(lines_ptr + line + column, tl.sum(total, 0, keep_dims=True), mask=inside)


@program
def forward(
    x_ptr, y_ptr, gain_ptr, shift_ptr, scales_ptr, left_out_ptr, squares_ptr, others_ptr,
    rows, channels, width, eps,
    SCALED: tl.constexpr, GIVEN: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """y = u gain + shift; lines of Σ u², over the rows that count and over those left out."""
    column, inside = _channels(width, channels, BLOCK)
    groups = tl.num_programs(1)
    if y_ptr is not None:
        gain = wide(gain_ptr + column, inside, 0.0)
        if shift_ptr is not None:
            shift = wide(shift_ptr + column, inside, 0.0)
    counted = tl.zeros([ROWS, BLOCK], tl.float32)
    other = tl.zeros([ROWS, BLOCK], tl.float32)
    for index in tl.range(tl.program_id(0), tl.cdiv(rows, ROWS), tl.num_programs(0)):
        row, there = rows_of(index, rows, ROWS)
        mask = there & inside
        u = wide(x_ptr + row * channels + column, mask, 0.0)
        if SCALED:
            place = scales_ptr + row * groups + tl.program_id(1)
            if GIVEN:
                scale = tl.load(place, mask=there, other=0.0)
            else:
                scale = 1.0 / tl.sqrt_rn(tl.sum(u * u, 1, keep_dims=True) / width + eps)
                tl.store(place, scale, mask=there)
            u = u * scale
        if squares_ptr is not None:
            if left_out_ptr is None:
                counted += u * u
            else:
                out = tl.load(left_out_ptr + row, mask=there, other=1) != 0
                counted += tl.where(out, 0.0, u * u)
                other += tl.where(out, u * u, 0.0)
        if y_ptr is not None:
            y = u * gain
            if shift_ptr is not None:
                y += shift
            tl.store(y_ptr + row * channels + column, y, mask=mask)
    if squares_ptr is not None:
        _store_sum(squares_ptr, column, inside, channels, counted)
        if left_out_ptr is not None:
            _store_sum(others_ptr, column, inside, channels, other)


@program
def backward(
    x_ptr, dy_ptr, dx_ptr, scales_ptr, of_dy_ptr, of_u_ptr, along_u_ptr, along_one_ptr,
    rows, channels, width,
    SCALED: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """dx of du = of_dy dy − of_u u; lines of Σ dy u and of Σ dy."""
    column, inside = _channels(width, channels, BLOCK)
    groups = tl.num_programs(1)
    if dx_ptr is not None:
        of_dy = wide(of_dy_ptr + column, inside, 0.0)
        of_u = wide(of_u_ptr + column, inside, 0.0)
    with_u = tl.zeros([ROWS, BLOCK], tl.float32)
    alone = tl.zeros([ROWS, BLOCK], tl.float32)
    for index in tl.range(tl.program_id(0), tl.cdiv(rows, ROWS), tl.num_programs(0)):
        row, there = rows_of(index, rows, ROWS)
        mask = there & inside
        u = wide(x_ptr + row * channels + column, mask, 0.0)
        dy = wide(dy_ptr + row * channels + column, mask, 0.0)
        if SCALED:
            scale = tl.load(scales_ptr + row * groups + tl.program_id(1), mask=there, other=0.0)
            u = u * scale
        if along_u_ptr is not None:
            with_u += dy * u
            alone += dy
        if dx_ptr is not None:
            du = of_dy * dy - of_u * u
            if SCALED:
                du = (du - u * (tl.sum(du * u, 1, keep_dims=True) / width)) * scale
            tl.store(dx_ptr + row * channels + column, du, mask=mask)
    if along_u_ptr is not None:
        _store_sum(along_u_ptr, column, inside, channels, with_u)
        _store_sum(along_one_ptr, column, inside, channels, alone)
