"""Cross-entropy of rows of logits with a class each, forward and backward.

    loss = (1 − ε) w_t (L − x_t) + ε/C Σ_j w_j (L − x_j),   L = log Σ_j e^(x_j)
    dx_j = g [((1 − ε) w_t + ε/C Σ w) p_j − (1 − ε) w_t 1(j = t) − ε/C w_j],   p = softmax(x)

Forward keeps maximum and Σ e^(x − maximum) of each row; backward computes p again. A row with the class that is to be
ignored has loss, weight and gradient 0; a class that does not exist gives NaN in all three, as an index cannot be
refused on the device.
"""

import triton.language as tl

from normkit.kernels.triton.programs.exponential import exponential, reference_of
from normkit.kernels.triton.programs.jit import program
from normkit.kernels.triton.programs.rows import columns_of, rows_of, wide
from normkit.kernels.triton.programs.softmax import sums_of_row

__all__ = ["backward", "forward_chunks", "forward_tile"]


@program
def _own_weight(w_ptr, target, width, counts):
    """The target's class weight, [ROWS, 1]: 0 where the row is ignored, NaN where there is no such class."""
    exists = (target >= 0) & (target < width)
    own = tl.where(exists, 1.0, float("nan"))
    if w_ptr is not None:
        own = tl.load(w_ptr + target, mask=counts & exists, other=float("nan"))
    return tl.where(counts, own, 0.0)


@program
def _loss(x_row, target, m, total, away, own, all_weights, width, counts, smoothing):
    """The loss of a row from Σ w (m − x), here `away`, and the sums that it keeps."""
    log, reference = tl.log(total), reference_of(m)
    exists = (target >= 0) & (target < width)
    x = tl.load(x_row + target, mask=counts & exists, other=0.0).to(tl.float32)
    loss = (1.0 - smoothing) * own * (log + (reference - x))
    loss += (smoothing / width) * (all_weights * log + away)
    loss = tl.where(m == float("inf"), float("nan"), loss)
    return tl.where(counts, loss, 0.0)


@program
def forward_tile(
    x_ptr, target_ptr, w_ptr, all_weights_ptr, loss_ptr, own_ptr, m_ptr, total_ptr,
    rows, units, x_stride, ignored, smoothing,
    SMOOTH: tl.constexpr, COMPENSATE: tl.constexpr, ALIGN: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Whole rows in one tile."""
    width = units * ALIGN
    row, there = rows_of(tl.program_id(0), rows, ROWS)
    column, inside = columns_of(0, width, BLOCK)
    x_row = x_ptr + row * (x_stride * ALIGN)
    x = wide(x_row + column, there & inside, float("-inf"))
    m = tl.max(x, 1, keep_dims=True)
    total = tl.sum(exponential(x, reference_of(m), COMPENSATE), 1, keep_dims=True)
    target = tl.load(target_ptr + row, mask=there, other=0)
    counts = there & (target != ignored)
    own = _own_weight(w_ptr, target, width, counts)
    away, all_weights = 0.0, 0.0
    if SMOOTH:
        weighted = reference_of(m) - x
        all_weights = width
        if w_ptr is not None:
            weighted *= wide(w_ptr + column, inside, 0.0)
            all_weights = tl.load(all_weights_ptr)
        away = tl.sum(tl.where(there & inside, weighted, 0.0), 1, keep_dims=True)
    loss = _loss(x_row, target, m, total, away, own, all_weights, width, counts, smoothing)
    tl.store(loss_ptr + row, loss, mask=there)
    tl.store(own_ptr + row, own, mask=there)
    tl.store(m_ptr + row, m, mask=there)
    tl.store(total_ptr + row, total, mask=there)


@program
def forward_chunks(
    x_ptr, target_ptr, w_ptr, all_weights_ptr, loss_ptr, own_ptr, m_ptr, total_ptr,
    rows, units, x_stride, ignored, smoothing,
    SMOOTH: tl.constexpr, COMPENSATE: tl.constexpr, ALIGN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One long row a program. Smoothing reads it again, when most of it is still in the L2 cache."""
    width = units * ALIGN
    row = tl.zeros([1, 1], tl.int64) + tl.program_id(0)
    x_row = x_ptr + row * (x_stride * ALIGN)
    m, total = sums_of_row(x_row, 0, width, COMPENSATE, BLOCK)
    target = tl.load(target_ptr + row)
    counts = target != ignored
    own = _own_weight(w_ptr, target, width, counts)
    away, all_weights = 0.0, 0.0
    if SMOOTH:
        all_weights = width
        if w_ptr is not None:
            all_weights = tl.load(all_weights_ptr)
        lanes = tl.zeros([1, BLOCK], tl.float32)
        chunks = tl.cdiv(width, BLOCK)
        for step in tl.range(0, chunks):
            column, inside = columns_of((chunks - 1 - step) * BLOCK, width, BLOCK)
            weighted = reference_of(m) - wide(x_row + column, inside, 0.0)
            if w_ptr is not None:
                weighted *= wide(w_ptr + column, inside, 0.0)
            lanes += tl.where(inside, weighted, 0.0)
        away = tl.sum(lanes, 1, keep_dims=True)
    loss = _loss(x_row, target, m, total, away, own, all_weights, width, counts, smoothing)
    tl.store(loss_ptr + row, loss)
    tl.store(own_ptr + row, own)
    tl.store(m_ptr + row, m)
    tl.store(total_ptr + row, total)


@program
def backward(
    x_ptr, target_ptr, w_ptr, all_weights_ptr, m_ptr, total_ptr, g_ptr, divisor_ptr, dx_ptr,
    rows, units, x_stride, g_stride, ignored, smoothing,
    SMOOTH: tl.constexpr, COMPENSATE: tl.constexpr, ALIGN: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """dx, tile by tile of rows and columns; `g_stride` is 0 where one gradient serves all rows."""
    width = units * ALIGN
    row, there = rows_of(tl.program_id(0), rows, ROWS)
    column, inside = columns_of(tl.program_id(1) * BLOCK, width, BLOCK)
    mask = there & inside
    x = wide(x_ptr + row * (x_stride * ALIGN) + column, mask, float("-inf"))
    m = tl.load(m_ptr + row, mask=there, other=0.0)
    total = tl.load(total_ptr + row, mask=there, other=1.0)
    target = tl.load(target_ptr + row, mask=there, other=0)
    counts = there & (target != ignored)
    g = tl.load(g_ptr + row * g_stride, mask=there, other=0.0).to(tl.float32)
    if divisor_ptr is not None:
        g = g / tl.load(divisor_ptr)
    hot = (1.0 - smoothing) * _own_weight(w_ptr, target, width, counts)
    p = exponential(x, reference_of(m), COMPENSATE) * tl.where(m == float("inf"), float("nan"), 1.0 / total)
    if SMOOTH:
        share = smoothing / width
        if w_ptr is not None:
            dx = (hot + share * tl.load(all_weights_ptr)) * p - share * wide(w_ptr + column, inside, 0.0)
        else:
            dx = (hot + smoothing) * p - share
    else:
        dx = hot * p
    dx = g * (dx - tl.where(column == target, hot, 0.0))
    tl.store(dx_ptr + row * width + column, tl.where(counts, dx, 0.0), mask=mask)
