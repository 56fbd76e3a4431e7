"""Unified normalisation's step on the channels' statistics, in C++: windows, averages, and the test for outliers.

What it computes is what `kernels/reference/unified_statistics.py` says in some forty operations of torch, each of which
takes longer than its few numbers; here it is one call each way. Native code: `native/core/columns/unified_step`.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Float32, Float64, Int
from torch import Tensor
from torch.autograd.graph import increment_version

from normkit.kernels import native

if native.AVAILABLE:
    from normkit import _native

    _advance, _gradient = _native.unified_advance, _native.unified_gradient

__all__ = ["Found", "Step", "advance", "smoothed_gradient"]

Channels = Float32[Tensor, " channels"]
Window = Float32[Tensor, "window channels"]
Counter = Int[Tensor, ""]


class Step(NamedTuple):
    """By what one step normalises.

    Attributes:
        rows: 1/sqrt(σ² + ε), the ratio r of this root to the running one, and the first times γ.
        number: which step it is, counted from 1.
        skip: whether the batch was an outlier, or there is no window to smooth over.
    """

    rows: Float32[Tensor, "3 channels"]
    number: int
    skip: bool


class Found(NamedTuple):
    """What the backward pass multiplies ∂y and x by, and the gradients of γ and β."""

    of_dy: Channels
    of_x: Channels
    weight: Channels
    bias: Channels


def advance(
    sums: Float64[Tensor, " channels"],
    count: int,
    weight: Float[Tensor, " channels"],
    running_var: Channels,
    buffer_x2: Window,
    iters: Counter,
    skip_counter: Counter,
    momentum: float,
    warmup_iters: int,
    outlier_filtration: bool,
    eps: float,
) -> Step:
    """Take Σ x² of a batch over `count` positions into the state, in place."""
    window, channels = buffer_x2.shape
    weight = weight.detach().to(torch.float32).contiguous()
    rows = torch.empty(3, channels, dtype=torch.float32, device="cpu")
    start, width = rows.data_ptr(), 4 * channels
    number = _advance(
        running_var.data_ptr(),
        buffer_x2.data_ptr(),
        window,
        iters.data_ptr(),
        skip_counter.data_ptr(),
        channels,
        momentum,
        eps,
        warmup_iters,
        outlier_filtration,
        sums.data_ptr(),
        count,
        weight.data_ptr(),
        start,
        start + width,
        start + 2 * width,
    )
    increment_version((running_var, buffer_x2, iters, skip_counter))
    return Step(rows, number >> 1, bool(number & 1))


def smoothed_gradient(
    sums: Float64[Tensor, "2 channels"],
    count: int,
    weight: Float[Tensor, " channels"],
    step: Step,
    ema_gz: Channels,
    buffer_gz: Window,
    momentum: float,
    warmup_iters: int,
) -> Found:
    """Take Σ ∂y x over `count` positions into the state, in place; `sums` are these and Σ ∂y."""
    window, channels = buffer_gz.shape
    weight = weight.detach().to(torch.float32).contiguous()
    found = torch.empty(4, channels, dtype=torch.float32, device="cpu")
    start, width, given, along = found.data_ptr(), 4 * channels, step.rows.data_ptr(), sums.data_ptr()
    _gradient(
        ema_gz.data_ptr(),
        buffer_gz.data_ptr(),
        window,
        channels,
        momentum,
        warmup_iters,
        step.number,
        step.skip,
        given,
        given + width,
        along,
        along + 2 * width,
        count,
        weight.data_ptr(),
        *range(start, start + 4 * width, width),
    )
    increment_version((ema_gz, buffer_gz))
    return Found(*found.unbind())
