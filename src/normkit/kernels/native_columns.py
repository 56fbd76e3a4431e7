"""The C++ column norms on CPU tensors (…, channels): no autograd, no tracing, just numbers.

With `groups`, each row's channels are first divided by their groups' own quadratic mean,

    u = x s,  s = 1/sqrt(mean of x² over the group + ε);     u = x where groups is 0,

and then by what belongs to the channels, which the caller makes of the sums given here:

    forward    y  = u gain + shift               Σ u²           over the rows
    backward   du = of_dy dy − of_u u            Σ dy u,  Σ dy  over the rows;   dx = (du − u mean(du u)) s with groups

Computed in float32 with sums carried in double, whatever the type in memory. Native code: `native/core/columns`.
"""

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from normkit.kernels import differentiable, native
from normkit.kernels.dispatch import tracing
from normkit.kernels.native import WHY_NOT

if native.AVAILABLE:
    from normkit import _native

    _columns, _columns_backward = _native.columns, _native.columns_backward

__all__ = ["DTYPES", "WHY_NOT", "backward", "forward", "holds", "takes", "too_narrow"]

DTYPES: dict[torch.dtype, int] = native.STORAGE
_threads = torch.get_num_threads

Rows = Float[Tensor, "*rows channels"]
Channels = Float[Tensor, " channels"]
Scales = Float[Tensor, "*rows groups"]
Sums = Float64[Tensor, "2 channels"]


def takes(*tensors: Tensor | None) -> bool:
    """Whether the elements of all of them are in plain CPU memory."""
    return not tracing() and all(tensor is None or differentiable.plain(tensor) for tensor in tensors)


def holds(*state: Tensor | None) -> bool:
    """Whether a layer's state lies as native code moves it: float32 and whole numbers, each without gaps."""
    for tensor in state:
        if tensor is None or not differentiable.plain(tensor) or not tensor.is_contiguous():
            return False
        if tensor.dtype is not (torch.float32 if tensor.ndim else torch.int64):
            return False
    return True


# From so many rows of few channels on, torch's formulas are quicker, which sum a whole axis at once where the kernels
# go from row to row. Measured on one thread: they break even between 256 and 4096 rows in evaluation, between 4096 and
# 65536 in a training step; beyond, the kernels take 1.1 to 6 times the formulas' time, and before mostly less than it.
_MANY_ROWS, _MANY_ROWS_TRAINED = 1 << 10, 1 << 14


def too_narrow(x: Rows, training: bool, channels: int = 1) -> str | None:
    """Why torch is quicker for a call of `channels` channels or fewer, in a training step or in evaluation; or None."""
    width = x.shape[-1]
    rows = x.numel() // width if width else 0
    if width > channels or rows <= (_MANY_ROWS_TRAINED if training else _MANY_ROWS):
        return None
    return f"torch is quicker for {rows} rows of {'one channel' if width == 1 else f'{width} channels'}"


def forward(
    x: Rows,
    gain: Channels | None = None,
    shift: Channels | None = None,
    *,
    groups: int = 0,
    eps: float = 0.0,
    scales: Scales | None = None,
    left_out: Bool[Tensor, " *rows"] | None = None,
    summed: bool = False,
    out: Rows | None = None,
) -> tuple[Rows | None, Scales | None, Sums | None]:
    """y where there is a gain, the groups' scales, and where `summed` the channels' Σ u².

    Args:
        x: float32, bfloat16 or float16.
        gain: one number a channel.
        shift: one number a channel; None is 0.
        groups: groups of channels with a scale of their own in each row; 0 for none.
        eps: ε inside their roots.
        scales: the groups' scales, where a call before has found them.
        left_out: rows whose squares are the second sum, not the first.
        summed: whether the sums are wanted: float64, over the rows that count and over those left out.
        out: takes y; contiguous, like `x`, and may be `x`.
    """
    x = x.contiguous()
    channels = x.shape[-1]
    _check(channels, gain is not None or summed, gain=gain, shift=shift)
    rows = x.numel() // channels if channels else 0
    y = None if gain is None else native.fresh(x) if out is None else out
    found = scales
    if groups and found is None:
        found = torch.empty(*x.shape[:-1], groups, dtype=torch.float32, device="cpu")
    sums = torch.zeros(2, channels, dtype=torch.float64, device="cpu") if summed else None
    gain, shift = _floats(gain), _floats(shift)
    left_out = None if left_out is None else left_out.contiguous()
    first = 0 if sums is None else sums.data_ptr()
    _columns(
        DTYPES[x.dtype],
        x.data_ptr(),
        _address(y),
        _address(gain),
        _address(shift),
        _address(found),
        scales is not None,
        _address(left_out),
        first,
        0 if sums is None or left_out is None else first + 8 * channels,
        rows,
        channels,
        groups,
        eps,
        _threads(),
    )
    return y, found, sums


def backward(
    x: Rows,
    dy: Rows,
    of_dy: Channels | None = None,
    of_u: Channels | None = None,
    *,
    scales: Scales | None = None,
    summed: bool = False,
) -> tuple[Rows | None, Sums | None]:
    """dx where there are coefficients of dy and u, and where `summed` the channels' Σ dy u and Σ dy, in float64."""
    x, dy = x.contiguous(), dy.to(x.dtype).contiguous()
    channels = x.shape[-1]
    _check(channels, of_dy is not None or summed, of_dy=of_dy, of_u=of_u)
    if (of_dy is None) != (of_u is None) or dy.shape != x.shape:
        raise ValueError("dx needs coefficients of dy and of u, and a dy of x's shape")
    rows = x.numel() // channels if channels else 0
    dx = None if of_dy is None else native.fresh(x)
    sums = torch.empty(2, channels, dtype=torch.float64, device="cpu") if summed else None
    of_dy, of_u = _floats(of_dy), _floats(of_u)
    first = 0 if sums is None else sums.data_ptr()
    _columns_backward(
        DTYPES[x.dtype],
        x.data_ptr(),
        dy.data_ptr(),
        _address(dx),
        _address(scales),
        _address(of_dy),
        _address(of_u),
        first,
        first and first + 8 * channels,
        rows,
        channels,
        0 if scales is None else scales.shape[-1],
        _threads(),
    )
    return dx, sums


def _check(channels: int, wanted: bool, **numbers: Tensor | None) -> None:
    """Memory is read by these sizes: a call with others must not get that far."""
    if not wanted:
        raise ValueError("nothing is asked for: neither a result nor the sums")
    for name, values in numbers.items():
        if values is not None and values.numel() != channels:
            raise ValueError(f"{name} must hold one number for each of {channels} channels, got {values.numel()}")


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _floats(numbers: Tensor | None) -> Tensor | None:
    return None if numbers is None else numbers.detach().to(torch.float32).contiguous()
