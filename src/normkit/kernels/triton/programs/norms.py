"""LayerNorm, RMSNorm and CRMSNorm of rows, with a residual added first if there is one; forward and backward.

    LAYER  n = (x − μ) r,  r = 1/sqrt(mean((x − μ)²) + ε)
    RMS    n = x r,        r = 1/sqrt(mean(x²) + ε)
    CRMS   n = x r,        r = 1/sqrt((Σ x² + T²)/(D + 1) + ε),  T = Σ x

y = n (offset + w) + b. Kept for the backward pass: r of each row, and μ (LAYER) or T (CRMS). There, g = dy (offset + w)
and dx = r (g − mean g − n mean(g n)), without mean g for RMS; CRMS has n + r T in n's place and divides by D + 1.

LayerNorm counts from a row's first element, its origin: what lies near it differs from it exactly, so that a large mean
costs no digits.

A longer row than a tile holds is walked twice, the second time backwards out of the L2 cache. Backwards the programs
are as many as the device runs at once; each walks over rows and keeps its own sums of dy n and dy for all columns, in
registers or, for long rows, in a line of its own in memory. `sum_lines` adds the lines up in order: no atomics, so the
gradients are the same from run to run.
"""

import triton.language as tl

from normkit.kernels.triton.programs.jit import program
from normkit.kernels.triton.programs.rows import columns_of, rows_of, wide

__all__ = [
    "CRMS",
    "LAYER",
    "RMS",
    "backward_chunks",
    "backward_tile",
    "forward_chunks",
    "forward_tile",
    "sum_lines",
]

LAYER = tl.constexpr(0)
RMS = tl.constexpr(1)
CRMS = tl.constexpr(2)


@program
def _summed(x_row, r_row, column, mask):
    """x, or x + residual rounded to the input's type as torch's own addition would."""
    x = wide(x_row + column, mask, 0.0)
    if r_row is not None:
        x = (x + wide(r_row + column, mask, 0.0)).to(x_row.dtype.element_ty).to(tl.float32)
    return x


@program
def _origin(x_row, r_row, there):
    """What a LayerNorm's row is counted from: its first element, [rows, 1]."""
    zero = tl.zeros([1, 1], tl.int32)
    return _summed(x_row, r_row, zero, there & (zero == 0))


@program
def _gain(w_ptr, column, inside, offset, dtype: tl.constexpr, ROUNDED: tl.constexpr):
    w = wide(w_ptr + column, inside, 0.0)
    return (w.to(dtype).to(tl.float32) + offset).to(dtype).to(tl.float32) if ROUNDED else w + offset


@program
def _affine(n, w_ptr, b_ptr, column, inside, offset, dtype: tl.constexpr, ROUNDED: tl.constexpr):
    """n (offset + w) + b in float32; ROUNDED: in the input's type with every step rounded, as Llama's code has it."""
    if ROUNDED:
        n = n.to(dtype).to(tl.float32)
    if w_ptr is not None:
        n = n * _gain(w_ptr, column, inside, offset, dtype, ROUNDED)
        if ROUNDED:
            n = n.to(dtype).to(tl.float32)
    if b_ptr is not None:
        b = wide(b_ptr + column, inside, 0.0)
        n += b.to(dtype).to(tl.float32) if ROUNDED else b
    return n


@program
def _normal(x, origin, first, rstd, KIND: tl.constexpr):
    return (x - origin - first) * rstd if KIND == LAYER else x * rstd


@program
def _inverse_root(square):
    return 1.0 / tl.sqrt_rn(square)


@program
def forward_tile(
    x_ptr, r_ptr, s_ptr, w_ptr, b_ptr, y_ptr, mean_ptr, rstd_ptr, rows, units, x_stride, r_stride, eps, offset,
    KIND: tl.constexpr, ROUNDED: tl.constexpr, ALIGN: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Whole rows in one tile: read once."""
    width = units * ALIGN
    row, there = rows_of(tl.program_id(0), rows, ROWS)
    column, inside = columns_of(0, width, BLOCK)
    mask = there & inside
    r_row = None if r_ptr is None else r_ptr + row * (r_stride * ALIGN)
    x = _summed(x_ptr + row * (x_stride * ALIGN), r_row, column, mask)
    if s_ptr is not None:
        tl.store(s_ptr + row * width + column, x, mask=mask)
    if KIND == LAYER:
        x = tl.where(mask, x - _origin(x_ptr + row * (x_stride * ALIGN), r_row, there), 0.0)
    first = tl.sum(x, 1, keep_dims=True)
    if KIND == LAYER:
        first = first / width
        x = tl.where(mask, x - first, 0.0)
        square = tl.sum(x * x, 1, keep_dims=True) / width
    elif KIND == RMS:
        square = tl.sum(x * x, 1, keep_dims=True) / width
    else:
        square = (tl.sum(x * x, 1, keep_dims=True) + first * first) / (width + 1)
    rstd = _inverse_root(square + eps)
    if KIND != RMS:
        tl.store(mean_ptr + row, first, mask=there)
    tl.store(rstd_ptr + row, rstd, mask=there)
    dtype: tl.constexpr = y_ptr.dtype.element_ty
    y = _affine(x * rstd, w_ptr, b_ptr, column, inside, offset, dtype, ROUNDED)
    tl.store(y_ptr + row * width + column, y, mask=mask)


@program
def _moments(x_row, r_row, s_row, origin, width, BLOCK: tl.constexpr):
    """Mean, from the origin, and Σ (x − mean)² of a long row, both [1, 1]: Welford in every lane, merged at the end."""
    mean = tl.zeros([1, BLOCK], tl.float32)
    spread = tl.zeros([1, BLOCK], tl.float32)
    for first in tl.range(0, width, BLOCK):
        column, inside = columns_of(first, width, BLOCK)
        x = _summed(x_row, r_row, column, inside)
        if s_row is not None:
            tl.store(s_row + column, x, mask=inside)
        x -= origin
        away = tl.where(inside, x - mean, 0.0)
        mean += away / (first // BLOCK + 1)
        spread += away * tl.where(inside, x - mean, 0.0)
    lane, _ = columns_of(0, width, BLOCK)
    count = ((width - lane + BLOCK - 1) // BLOCK).to(tl.float32)
    centre = tl.sum(mean * count, 1, keep_dims=True) / width
    between = (mean - centre) * (mean - centre) * count
    return centre, tl.sum(spread + between, 1, keep_dims=True)


@program
def _sums(x_row, r_row, s_row, width, BLOCK: tl.constexpr):
    """Σ x and Σ x² of a long row, both [1, 1]."""
    total = tl.zeros([1, BLOCK], tl.float32)
    square = tl.zeros([1, BLOCK], tl.float32)
    for first in tl.range(0, width, BLOCK):
        column, inside = columns_of(first, width, BLOCK)
        x = _summed(x_row, r_row, column, inside)
        if s_row is not None:
            tl.store(s_row + column, x, mask=inside)
        total += x
        square += x * x
    return tl.sum(total, 1, keep_dims=True), tl.sum(square, 1, keep_dims=True)


@program
def forward_chunks(
    x_ptr, r_ptr, s_ptr, w_ptr, b_ptr, y_ptr, mean_ptr, rstd_ptr, rows, units, x_stride, r_stride, eps, offset,
    KIND: tl.constexpr, ROUNDED: tl.constexpr, ALIGN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One long row a program: a pass for the statistics, a pass backwards for the result."""
    width, row = units * ALIGN, tl.zeros([1, 1], tl.int64) + tl.program_id(0)
    x_row = x_ptr + row * (x_stride * ALIGN)
    r_row = None if r_ptr is None else r_ptr + row * (r_stride * ALIGN)
    s_row = None if s_ptr is None else s_ptr + row * width
    origin = 0.0
    if KIND == LAYER:
        origin = _origin(x_row, r_row, row >= 0)
        first, spread = _moments(x_row, r_row, s_row, origin, width, BLOCK)
        rstd = _inverse_root(spread / width + eps)
    else:
        first, square = _sums(x_row, r_row, s_row, width, BLOCK)
        square = square / width if KIND == RMS else (square + first * first) / (width + 1)
        rstd = _inverse_root(square + eps)
    if KIND != RMS:
        tl.store(mean_ptr + row, first)
    tl.store(rstd_ptr + row, rstd)
    dtype: tl.constexpr = y_ptr.dtype.element_ty
    chunks = tl.cdiv(width, BLOCK)
    for step in tl.range(0, chunks):
        column, inside = columns_of((chunks - 1 - step) * BLOCK, width, BLOCK)
        x = _summed(x_row, r_row, column, inside)
        n = _normal(x, origin, first, rstd, KIND)
        y = _affine(n, w_ptr, b_ptr, column, inside, offset, dtype, ROUNDED)
        tl.store(y_ptr + row * width + column, y, mask=inside)


# --- backward ---


@program
def _pulled(g, n, along, along_one, first, rstd, width, KIND: tl.constexpr):
    """dx from g and n and their row sums Σ g n and Σ g."""
    if KIND == LAYER:
        return rstd * (g - along_one / width - n * (along / width))
    if KIND == RMS:
        return rstd * (g - n * (along / width))
    return rstd * (g - (n + first * rstd) * (along / (width + 1)))


@program
def backward_tile(
    x_ptr, dy_ptr, ds_ptr, w_ptr, mean_ptr, rstd_ptr, dx_ptr, dw_ptr, db_ptr,
    rows, units, x_stride, dy_stride, ds_stride, offset,
    KIND: tl.constexpr, ROUNDED: tl.constexpr, ALIGN: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Tiles of whole rows, one after the other; the sums for w and b stay in registers until the last."""
    width = units * ALIGN
    column, inside = columns_of(0, width, BLOCK)
    dtype: tl.constexpr = x_ptr.dtype.element_ty
    if w_ptr is not None:
        w = _gain(w_ptr, column, inside, offset, dtype, ROUNDED)
    dw = tl.zeros([ROWS, BLOCK], tl.float32)
    db = tl.zeros([ROWS, BLOCK], tl.float32)
    for index in tl.range(tl.program_id(0), tl.cdiv(rows, ROWS), tl.num_programs(0)):
        row, there = rows_of(index, rows, ROWS)
        mask = there & inside
        x = wide(x_ptr + row * (x_stride * ALIGN) + column, mask, 0.0)
        dy = wide(dy_ptr + row * (dy_stride * ALIGN) + column, mask, 0.0)
        rstd = tl.load(rstd_ptr + row, mask=there, other=0.0)
        origin, first = 0.0, 0.0
        if KIND == LAYER:
            origin = _origin(x_ptr + row * (x_stride * ALIGN), None, there)
        if KIND != RMS:
            first = tl.load(mean_ptr + row, mask=there, other=0.0)
        n = _normal(x, origin, first, rstd, KIND)
        g = dy
        if w_ptr is not None:
            g = dy * w
        along = tl.sum(g * n, 1, keep_dims=True)
        along_one = tl.sum(g, 1, keep_dims=True) if KIND == LAYER else along
        dx = _pulled(g, n, along, along_one, first, rstd, width, KIND)
        if ds_ptr is not None:
            dx += wide(ds_ptr + row * (ds_stride * ALIGN) + column, mask, 0.0)
        tl.store(dx_ptr + row * width + column, dx, mask=mask)
        if dw_ptr is not None:
            dw += dy * (n.to(dtype).to(tl.float32) if ROUNDED else n)
        if db_ptr is not None:
            db += dy
    line = tl.program_id(0).to(tl.int64) * width
    if dw_ptr is not None:
        tl.store(dw_ptr + line + column, tl.sum(dw, 0, keep_dims=True), mask=inside)
    if db_ptr is not None:
        tl.store(db_ptr + line + column, tl.sum(db, 0, keep_dims=True), mask=inside)


@program
def _add_to_line(line_ptr, column, inside, value, begun):
    """Add to a line of this program's own; before it has begun there is nothing in it worth reading."""
    before = tl.load(line_ptr + column, mask=inside & begun, other=0.0)
    tl.store(line_ptr + column, before + value, mask=inside)


@program
def backward_chunks(
    x_ptr, dy_ptr, ds_ptr, w_ptr, mean_ptr, rstd_ptr, dx_ptr, dw_ptr, db_ptr,
    rows, units, x_stride, dy_stride, ds_stride, offset,
    KIND: tl.constexpr, ROUNDED: tl.constexpr, ALIGN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Long rows, one after the other: a pass for the sums, a pass backwards for dx and for this program's lines."""
    width = units * ALIGN
    dtype: tl.constexpr = x_ptr.dtype.element_ty
    line = tl.program_id(0).to(tl.int64) * width
    chunks = tl.cdiv(width, BLOCK)
    for index in tl.range(tl.program_id(0), rows, tl.num_programs(0)):
        row = tl.zeros([1, 1], tl.int64) + index
        begun = row >= tl.num_programs(0)
        x_row, dy_row = x_ptr + row * (x_stride * ALIGN), dy_ptr + row * (dy_stride * ALIGN)
        rstd = tl.load(rstd_ptr + row)
        origin, first = 0.0, 0.0
        if KIND == LAYER:
            origin = _origin(x_row, None, row >= 0)
        if KIND != RMS:
            first = tl.load(mean_ptr + row)
        product = tl.zeros([1, BLOCK], tl.float32)
        plain = tl.zeros([1, BLOCK], tl.float32)
        for start in tl.range(0, width, BLOCK):
            column, inside = columns_of(start, width, BLOCK)
            g = wide(dy_row + column, inside, 0.0)
            if w_ptr is not None:
                g = g * _gain(w_ptr, column, inside, offset, dtype, ROUNDED)
            product += g * _normal(wide(x_row + column, inside, 0.0), origin, first, rstd, KIND)
            if KIND == LAYER:
                plain += g
        along, along_one = tl.sum(product, 1, keep_dims=True), tl.sum(plain, 1, keep_dims=True)
        for step in tl.range(0, chunks):
            column, inside = columns_of((chunks - 1 - step) * BLOCK, width, BLOCK)
            n = _normal(wide(x_row + column, inside, 0.0), origin, first, rstd, KIND)
            dy = wide(dy_row + column, inside, 0.0)
            g = dy
            if w_ptr is not None:
                g = dy * _gain(w_ptr, column, inside, offset, dtype, ROUNDED)
            dx = _pulled(g, n, along, along_one, first, rstd, width, KIND)
            if ds_ptr is not None:
                dx += wide(ds_ptr + row * (ds_stride * ALIGN) + column, inside, 0.0)
            tl.store(dx_ptr + row * width + column, dx, mask=inside)
            if dw_ptr is not None:
                n = n.to(dtype).to(tl.float32) if ROUNDED else n
                _add_to_line(dw_ptr + line, column, inside, dy * n, begun)
            if db_ptr is not None:
                _add_to_line(db_ptr + line, column, inside, dy, begun)
        tl.debug_barrier()  # what one thread has added to a line another may read in the next row


@program
def sum_lines(
    lines_ptr, first_ptr, second_ptr, number, width, ROWS: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Sums over the programs' lines, [number, width] for the first result and as many again for the second."""
    which = tl.program_id(1)
    column, inside = columns_of(tl.program_id(0) * BLOCK, width, BLOCK)
    total = tl.zeros([ROWS, BLOCK], tl.float32)
    for start in tl.range(0, number, ROWS):
        row = start + tl.arange(0, ROWS)[:, None]
        place = (which * number + row).to(tl.int64) * width + column
        total += tl.load(lines_ptr + place, mask=(row < number) & inside, other=0.0)
    result = tl.sum(total, 0, keep_dims=True)
    if which == 0:
        tl.store(first_ptr + column, result, mask=inside)
    elif second_ptr is not None:
        tl.store(second_ptr + column, result, mask=inside)
