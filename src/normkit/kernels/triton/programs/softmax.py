"""Softmax, log-softmax and log-sum-exp of rows, forward and backward.

A row that fits one tile is read once (`forward_tile`). A longer one is read twice, first for its sum, with a running
maximum, then backwards for the result, when its tail is still in the L2 cache (`forward_chunks`). Where long rows are
too few to fill the device each is cut into pieces: `sum_pieces` leaves (maximum, sum) of every piece, and each program
of `forward_pieces` merges them for itself.
"""

import triton.language as tl

from normkit.kernels.triton.programs.exponential import exponential, merge, reference_of
from normkit.kernels.triton.programs.jit import program
from normkit.kernels.triton.programs.rows import columns_of, rows_of, wide

__all__ = [
    "LOGSUMEXP",
    "LOG_SOFTMAX",
    "SOFTMAX",
    "backward_chunks",
    "backward_pieces",
    "backward_tile",
    "dot_pieces",
    "forward_chunks",
    "forward_pieces",
    "forward_tile",
    "logsumexp_backward",
    "logsumexp_pieces",
    "sum_pieces",
    "sums_of_row",
]

SOFTMAX = tl.constexpr(0)
LOG_SOFTMAX = tl.constexpr(1)
LOGSUMEXP = tl.constexpr(2)


@program
def _log_total(m, total):
    """log Σ e^x in two parts, rounded value and what the rounding lost; the second is 0 where the first is infinite."""
    reference, log = reference_of(m), tl.log(total)
    high = reference + log
    back = high - reference
    lost = (reference - (high - back)) + (log - back)
    infinite = (tl.abs(high) == float("inf")) | (m == float("inf"))
    return tl.where(m == float("inf"), m + log, high), tl.where(infinite, 0.0, lost)


@program
def _result(x, m, total, KIND: tl.constexpr, MASKED_ZERO: tl.constexpr, COMPENSATE: tl.constexpr):
    """The elements of softmax or log-softmax; +inf and NaN make the whole row NaN, as does a row that is all −inf."""
    broken = m == float("inf")
    if KIND == SOFTMAX:
        factor = tl.where(broken, float("nan"), 1.0 / total)
        if MASKED_ZERO:
            factor = tl.where(total == 0.0, 0.0, factor)
        return exponential(x, reference_of(m), COMPENSATE) * factor
    high, low = _log_total(m, total)
    y = tl.where(broken, float("nan"), (x - high) - low)
    if MASKED_ZERO:
        y = tl.where(total == 0.0, float("-inf"), y)
    return y


@program
def forward_tile(
    x_ptr, y_ptr, rows, units, x_stride, y_stride,
    KIND: tl.constexpr, MASKED_ZERO: tl.constexpr, COMPENSATE: tl.constexpr,
    ALIGN: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Whole rows in one tile; for log-sum-exp y is one number a row."""
    row, there = rows_of(tl.program_id(0), rows, ROWS)
    column, inside = columns_of(0, units * ALIGN, BLOCK)
    mask = there & inside
    x = wide(x_ptr + row * (x_stride * ALIGN) + column, mask, float("-inf"))
    m = tl.max(x, 1, keep_dims=True)
    total = tl.sum(exponential(x, reference_of(m), COMPENSATE), 1, keep_dims=True)
    if KIND == LOGSUMEXP:
        high, _ = _log_total(m, total)
        tl.store(y_ptr + row, high, mask=there)
    else:
        y = _result(x, m, total, KIND, MASKED_ZERO, COMPENSATE)
        tl.store(y_ptr + row * (y_stride * ALIGN) + column, y, mask=mask)


@program
def sums_of_row(x_row, start, stop, COMPENSATE: tl.constexpr, BLOCK: tl.constexpr):
    """Maximum and Σ e^(x − maximum) of columns start…stop, both [1, 1]; sums are kept by lane until the end."""
    m = tl.full([1, 1], float("-inf"), tl.float32)
    lanes = tl.zeros([1, BLOCK], tl.float32)
    for first in tl.range(start, stop, BLOCK):
        column, inside = columns_of(first, stop, BLOCK)
        x = wide(x_row + column, inside, float("-inf"))
        top = tl.maximum(m, tl.max(x, 1, keep_dims=True))
        lanes = lanes * exponential(reference_of(m), reference_of(top), True)
        lanes += exponential(x, reference_of(top), COMPENSATE)
        m = top
    return m, tl.sum(lanes, 1, keep_dims=True)


@program
def forward_chunks(
    x_ptr, y_ptr, rows, units, x_stride, y_stride,
    KIND: tl.constexpr, MASKED_ZERO: tl.constexpr, COMPENSATE: tl.constexpr,
    ALIGN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One long row a program: a pass for the sum, a pass backwards for the result."""
    row = tl.program_id(0).to(tl.int64)
    width = units * ALIGN
    x_row = x_ptr + row * (x_stride * ALIGN)
    m, total = sums_of_row(x_row, 0, width, COMPENSATE, BLOCK)
    if KIND == LOGSUMEXP:
        high, _ = _log_total(m, total)
        tl.store(y_ptr + row + tl.zeros([1, 1], tl.int32), high)
    else:
        y_row = y_ptr + row * (y_stride * ALIGN)
        chunks = tl.cdiv(width, BLOCK)
        for step in tl.range(0, chunks):
            column, inside = columns_of((chunks - 1 - step) * BLOCK, width, BLOCK)
            x = wide(x_row + column, inside, float("-inf"))
            tl.store(y_row + column, _result(x, m, total, KIND, MASKED_ZERO, COMPENSATE), mask=inside)


@program
def sum_pieces(
    x_ptr, m_ptr, total_ptr, units, x_stride, piece,
    COMPENSATE: tl.constexpr, ALIGN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Maximum and sum of one piece, `piece` columns of a row; pieces of a row lie side by side in m and total."""
    row, part, parts = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.num_programs(1)
    start = part * piece
    stop = tl.minimum(start + piece, units * ALIGN)
    m, total = sums_of_row(x_ptr + row * (x_stride * ALIGN), start, stop, COMPENSATE, BLOCK)
    place = row * parts + part + tl.zeros([1, 1], tl.int32)
    tl.store(m_ptr + place, m)
    tl.store(total_ptr + place, total)


@program
def _merged(m_ptr, total_ptr, row, parts, PARTS: tl.constexpr):
    part = tl.arange(0, PARTS)[None, :]
    m = tl.load(m_ptr + row * parts + part, mask=part < parts, other=float("-inf"))
    total = tl.load(total_ptr + row * parts + part, mask=part < parts, other=0.0)
    return merge(m, total, 1)


@program
def forward_pieces(
    x_ptr, y_ptr, m_ptr, total_ptr, units, x_stride, y_stride, piece,
    KIND: tl.constexpr, MASKED_ZERO: tl.constexpr, COMPENSATE: tl.constexpr,
    ALIGN: tl.constexpr, BLOCK: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """One piece of a row, backwards; the sums of all its pieces are merged by every program of the row."""
    row, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    m, total = _merged(m_ptr, total_ptr, row, tl.num_programs(1), PARTS)
    start = part * piece
    stop = tl.minimum(start + piece, units * ALIGN)
    x_row, y_row = x_ptr + row * (x_stride * ALIGN), y_ptr + row * (y_stride * ALIGN)
    chunks = tl.cdiv(stop - start, BLOCK)
    for step in tl.range(0, chunks):
        column, inside = columns_of(start + (chunks - 1 - step) * BLOCK, stop, BLOCK)
        x = wide(x_row + column, inside, float("-inf"))
        tl.store(y_row + column, _result(x, m, total, KIND, MASKED_ZERO, COMPENSATE), mask=inside)


@program
def logsumexp_pieces(m_ptr, total_ptr, y_ptr, parts, PARTS: tl.constexpr):
    """The small second program of log-sum-exp over cut rows."""
    row = tl.program_id(0).to(tl.int64)
    m, total = _merged(m_ptr, total_ptr, row, parts, PARTS)
    high, _ = _log_total(m, total)
    tl.store(y_ptr + row + tl.zeros([1, 1], tl.int32), high)


# --- backward: dx = y (dy − Σ y dy) and dx = dy − e^y Σ dy ---


@program
def _terms(y, dy, KIND: tl.constexpr):
    """What is summed over the row; y is −inf or 0, dy is 0 outside of it."""
    return y * dy if KIND == SOFTMAX else dy


@program
def _slope(y, dy, total, alive, KIND: tl.constexpr, MASKED_ZERO: tl.constexpr):
    if KIND == SOFTMAX:
        return y * (dy - total)
    dx = dy - exponential(y, 0.0, True) * total
    return tl.where(alive, dx, 0.0) if MASKED_ZERO else dx


@program
def backward_tile(
    y_ptr, dy_ptr, dx_ptr, rows, units, y_stride, dy_stride, dx_stride,
    KIND: tl.constexpr, MASKED_ZERO: tl.constexpr, ALIGN: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Whole rows in one tile. MASKED_ZERO: a row of log-softmax that is all −inf gets zeros."""
    row, there = rows_of(tl.program_id(0), rows, ROWS)
    column, inside = columns_of(0, units * ALIGN, BLOCK)
    mask = there & inside
    y = wide(y_ptr + row * (y_stride * ALIGN) + column, mask, 0.0 if KIND == SOFTMAX else float("-inf"))
    dy = wide(dy_ptr + row * (dy_stride * ALIGN) + column, mask, 0.0)
    total = tl.sum(_terms(y, dy, KIND), 1, keep_dims=True)
    alive = tl.max(y, 1, keep_dims=True) > float("-inf")
    dx = _slope(y, dy, total, alive, KIND, MASKED_ZERO)
    tl.store(dx_ptr + row * (dx_stride * ALIGN) + column, dx, mask=mask)


@program
def _dot(y_row, dy_row, start, stop, KIND: tl.constexpr, BLOCK: tl.constexpr):
    """Σ of the row's terms and its largest y between two columns, both [1, 1]."""
    lanes = tl.zeros([1, BLOCK], tl.float32)
    largest = tl.full([1, BLOCK], float("-inf"), tl.float32)
    for first in tl.range(start, stop, BLOCK):
        column, inside = columns_of(first, stop, BLOCK)
        y = wide(y_row + column, inside, 0.0 if KIND == SOFTMAX else float("-inf"))
        lanes += _terms(y, wide(dy_row + column, inside, 0.0), KIND)
        largest = tl.maximum(largest, y)
    return tl.sum(lanes, 1, keep_dims=True), tl.max(largest, 1, keep_dims=True)


@program
def _write_backwards(
    y_row, dy_row, dx_row, start, stop, total, alive,
    KIND: tl.constexpr, MASKED_ZERO: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    chunks = tl.cdiv(stop - start, BLOCK)
    for step in tl.range(0, chunks):
        column, inside = columns_of(start + (chunks - 1 - step) * BLOCK, stop, BLOCK)
        y = wide(y_row + column, inside, 0.0)
        dy = wide(dy_row + column, inside, 0.0)
        tl.store(dx_row + column, _slope(y, dy, total, alive, KIND, MASKED_ZERO), mask=inside)


@program
def backward_chunks(
    y_ptr, dy_ptr, dx_ptr, rows, units, y_stride, dy_stride, dx_stride,
    KIND: tl.constexpr, MASKED_ZERO: tl.constexpr, ALIGN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One long row a program: the sum, then the result backwards."""
    row, width = tl.program_id(0).to(tl.int64), units * ALIGN
    y_row, dy_row = y_ptr + row * (y_stride * ALIGN), dy_ptr + row * (dy_stride * ALIGN)
    total, largest = _dot(y_row, dy_row, 0, width, KIND, BLOCK)
    dx_row = dx_ptr + row * (dx_stride * ALIGN)
    _write_backwards(y_row, dy_row, dx_row, 0, width, total, largest > float("-inf"), KIND, MASKED_ZERO, BLOCK)


@program
def dot_pieces(
    y_ptr, dy_ptr, total_ptr, largest_ptr, units, y_stride, dy_stride, piece,
    KIND: tl.constexpr, ALIGN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The sum over one piece of a row."""
    row, part, parts = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.num_programs(1)
    start = part * piece
    stop = tl.minimum(start + piece, units * ALIGN)
    y_row, dy_row = y_ptr + row * (y_stride * ALIGN), dy_ptr + row * (dy_stride * ALIGN)
    total, largest = _dot(y_row, dy_row, start, stop, KIND, BLOCK)
    place = row * parts + part + tl.zeros([1, 1], tl.int32)
    tl.store(total_ptr + place, total)
    tl.store(largest_ptr + place, largest)


@program
def backward_pieces(
    y_ptr, dy_ptr, dx_ptr, total_ptr, largest_ptr, units, y_stride, dy_stride, dx_stride, piece,
    KIND: tl.constexpr, MASKED_ZERO: tl.constexpr, ALIGN: tl.constexpr, BLOCK: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """One piece of dx; the sums of the row's pieces are added up by every program of the row."""
    row, index, parts = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.num_programs(1)
    part = tl.arange(0, PARTS)[None, :]
    total = tl.sum(tl.load(total_ptr + row * parts + part, mask=part < parts, other=0.0), 1, keep_dims=True)
    top = tl.load(largest_ptr + row * parts + part, mask=part < parts, other=float("-inf"))
    alive = tl.max(top, 1, keep_dims=True) > float("-inf")
    start = index * piece
    stop = tl.minimum(start + piece, units * ALIGN)
    y_row, dy_row = y_ptr + row * (y_stride * ALIGN), dy_ptr + row * (dy_stride * ALIGN)
    dx_row = dx_ptr + row * (dx_stride * ALIGN)
    _write_backwards(y_row, dy_row, dx_row, start, stop, total, alive, KIND, MASKED_ZERO, BLOCK)


@program
def logsumexp_backward(
    x_ptr, total_ptr, dtotal_ptr, dx_ptr, units, x_stride, dx_stride, ALIGN: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """dx = dL·e^(x − L), chunk by chunk."""
    row = tl.program_id(0).to(tl.int64)
    column, inside = columns_of(tl.program_id(1) * BLOCK, units * ALIGN, BLOCK)
    x = wide(x_ptr + row * (x_stride * ALIGN) + column, inside, float("-inf"))
    total = tl.load(total_ptr + row).to(tl.float32)
    dx = exponential(x, total, True) * tl.load(dtotal_ptr + row).to(tl.float32)
    tl.store(dx_ptr + row * (dx_stride * ALIGN) + column, dx, mask=inside)
