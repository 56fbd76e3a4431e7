"""EvoNorm-S0 of dense (batch, channels, space) tensors: a program for each sample's group of channels.

    y = x s r γ + β,   s = σ(v x),   r = 1/sqrt(var_group + ε)

A group lies in one piece of memory. A small one is read once and kept (WHOLE); a larger one is walked in tiles of
channels × space, first for its variance, then, out of the cache, for the result. Backwards, n the entries of a group,
dx = g γ r (s + v x s (1−s)) − (x − μ) r³/n Σ g γ x s, and of each sample's channels the sums Σ g x s r, Σ g and
Σ g γ r x² s (1−s), which are added up over the batch elsewhere.
"""

import triton.language as tl

from normkit.kernels.triton.programs.jit import program
from normkit.kernels.triton.programs.rows import columns_of, wide

__all__ = ["backward", "forward"]


@program
def _channels_of(start, channels, group, CHANNELS: tl.constexpr):
    """Channel numbers [CHANNELS, 1] inside a group, which of them exist, and their numbers among all channels."""
    channel = start + tl.arange(0, CHANNELS)[:, None]
    return channel, channel < channels, group * channels + channel


@program
def _per_channel(pointer, channel, there):
    return tl.load(pointer + channel, mask=there, other=0.0).to(tl.float32)


@program
def _moments(x_group, channels, space, CHANNELS: tl.constexpr, SPACE: tl.constexpr):
    """Mean and variance of a group that is walked in tiles: by Welford in every lane, lanes merged at the end."""
    count = tl.zeros([CHANNELS, SPACE], tl.float32)
    mean = tl.zeros([CHANNELS, SPACE], tl.float32)
    spread = tl.zeros([CHANNELS, SPACE], tl.float32)
    for first in tl.range(0, channels, CHANNELS):
        channel, there, _ = _channels_of(first, channels, 0, CHANNELS)
        for start in tl.range(0, space, SPACE):
            place, inside = columns_of(start, space, SPACE)
            mask = there & inside
            x = wide(x_group + channel * space + place, mask, 0.0)
            count += tl.where(mask, 1.0, 0.0)
            away = tl.where(mask, x - mean, 0.0)
            mean += away / tl.maximum(count, 1.0)
            spread += away * tl.where(mask, x - mean, 0.0)
    entries = channels * space
    centre = tl.sum(tl.sum(mean * count, 1, keep_dims=True), 0, keep_dims=True) / entries
    spread += (mean - centre) * (mean - centre) * count
    return centre, tl.sum(tl.sum(spread, 1, keep_dims=True), 0, keep_dims=True) / entries


@program
def _activated(x, w_ptr, b_ptr, v_ptr, channel, there, rstd):
    v = _per_channel(v_ptr, channel, there)
    scale = _per_channel(w_ptr, channel, there) * rstd
    return tl.fma(x * tl.sigmoid(v * x), scale, _per_channel(b_ptr, channel, there))


@program
def forward(
    x_ptr, w_ptr, b_ptr, v_ptr, y_ptr, mean_ptr, rstd_ptr, groups, channels, units, eps,
    WHOLE: tl.constexpr, ALIGN: tl.constexpr, CHANNELS: tl.constexpr, SPACE: tl.constexpr,
):  # fmt: skip
    """One sample's group; `channels` are those of a group."""
    space, index = units * ALIGN, tl.zeros([1, 1], tl.int64) + tl.program_id(0)
    group = index % groups
    x_group, y_group = x_ptr + index * channels * space, y_ptr + index * channels * space
    if WHOLE:
        channel, there, among_all = _channels_of(0, channels, group, CHANNELS)
        place, inside = columns_of(0, space, SPACE)
        mask, offset = there & inside, channel * space + place
        x = wide(x_group + offset, mask, 0.0)
        mean = tl.sum(tl.sum(x, 1, keep_dims=True), 0, keep_dims=True) / (channels * space)
        away = tl.where(mask, x - mean, 0.0)
        variance = tl.sum(tl.sum(away * away, 1, keep_dims=True), 0, keep_dims=True) / (channels * space)
        rstd = 1.0 / tl.sqrt_rn(variance + eps)
        tl.store(y_group + offset, _activated(x, w_ptr, b_ptr, v_ptr, among_all, there, rstd), mask=mask)
    else:
        mean, variance = _moments(x_group, channels, space, CHANNELS, SPACE)
        rstd = 1.0 / tl.sqrt_rn(variance + eps)
        for first in tl.range(0, channels, CHANNELS):
            channel, there, among_all = _channels_of(first, channels, group, CHANNELS)
            for start in tl.range(0, space, SPACE):
                place, inside = columns_of(start, space, SPACE)
                mask, offset = there & inside, channel * space + place
                x = wide(x_group + offset, mask, 0.0)
                tl.store(y_group + offset, _activated(x, w_ptr, b_ptr, v_ptr, among_all, there, rstd), mask=mask)
    tl.store(mean_ptr + index, mean)
    tl.store(rstd_ptr + index, rstd)


@program
def backward(
    x_ptr, g_ptr, w_ptr, v_ptr, mean_ptr, rstd_ptr, dx_ptr, sums_ptr, batch, groups, channels, units,
    ALIGN: tl.constexpr, CHANNELS: tl.constexpr, SPACE: tl.constexpr,
):  # fmt: skip
    """One sample's group: a pass for its channels' sums, a pass for dx. `sums` is [3, batch, all channels]."""
    space, index = units * ALIGN, tl.zeros([1, 1], tl.int64) + tl.program_id(0)
    sample, group = index // groups, index % groups
    base = index * channels * space
    mean, rstd = tl.load(mean_ptr + index), tl.load(rstd_ptr + index)
    pull = tl.zeros([1, 1], tl.float32)
    one_sum = tl.zeros([1, 1], tl.int64) + batch * groups * channels
    for first in tl.range(0, channels, CHANNELS):
        channel, there, among_all = _channels_of(first, channels, group, CHANNELS)
        v, gamma = _per_channel(v_ptr, among_all, there), _per_channel(w_ptr, among_all, there)
        along_y = tl.zeros([CHANNELS, SPACE], tl.float32)
        along_one = tl.zeros([CHANNELS, SPACE], tl.float32)
        along_v = tl.zeros([CHANNELS, SPACE], tl.float32)
        for start in tl.range(0, space, SPACE):
            place, inside = columns_of(start, space, SPACE)
            offset = base + channel * space + place
            x, g = wide(x_ptr + offset, there & inside, 0.0), wide(g_ptr + offset, there & inside, 0.0)
            s = tl.sigmoid(v * x)
            swish = g * x * s
            along_y += swish
            along_one += g
            along_v += swish * x * (1.0 - s)
        of_y = tl.sum(along_y, 1, keep_dims=True)
        pull += tl.sum(of_y * gamma, 0, keep_dims=True)
        place = sums_ptr + sample * groups * channels + among_all
        tl.store(place, of_y * rstd, mask=there)
        tl.store(place + one_sum, tl.sum(along_one, 1, keep_dims=True), mask=there)
        tl.store(place + 2 * one_sum, tl.sum(along_v, 1, keep_dims=True) * gamma * rstd, mask=there)
    pull = pull * rstd * rstd * rstd / (channels * space)
    for first in tl.range(0, channels, CHANNELS):
        channel, there, among_all = _channels_of(first, channels, group, CHANNELS)
        v, scale = _per_channel(v_ptr, among_all, there), _per_channel(w_ptr, among_all, there) * rstd
        for start in tl.range(0, space, SPACE):
            place, inside = columns_of(start, space, SPACE)
            offset = base + channel * space + place
            x, g = wide(x_ptr + offset, there & inside, 0.0), wide(g_ptr + offset, there & inside, 0.0)
            s = tl.sigmoid(v * x)
            dx = g * scale * (s + v * x * s * (1.0 - s)) - (x - mean) * pull
            tl.store(dx_ptr + offset, dx, mask=there & inside)
