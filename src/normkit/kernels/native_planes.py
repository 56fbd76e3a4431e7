"""The C++ channel norms on CPU tensors (batch, channels, *space): no autograd, no tracing, just numbers.

Each forward function returns the result and, with `keep`, what its backward function wants back: the moments that it
took, in float64; without it None. Computed in float32 with sums carried in double, whatever the type in memory;
parameters are rounded to float32. Native code: `native/core/planes`.
"""

import torch
from torch import Tensor

from normkit.kernels import native
from normkit.kernels.native import AVAILABLE, HUGE_PAGES_FROM, WHY_NOT

if AVAILABLE:
    from normkit import _native

    _planes = _native.planes
    TINY_PLANE, MANY_PLANES = _native.TINY_PLANE, _native.MANY_PLANES

__all__ = [
    "DTYPES",
    "WHY_NOT",
    "batch_channel_norm",
    "batch_channel_norm_backward",
    "channels_last",
    "evonorm_b0",
    "evonorm_b0_backward",
    "evonorm_s0",
    "evonorm_s0_backward",
    "group_norm",
    "group_norm_backward",
    "weight_standardize",
    "weight_standardize_backward",
]

_GROUP_NORM, _EVONORM_S0, _EVONORM_B0, _BATCH_CHANNEL_NORM, _WEIGHT_STANDARDIZE = range(5)
_GIVEN, _ESTIMATED, _OF_BATCH = range(3)  # statistics of the channels
_DENOMINATORS = {"official": 0, "bcn": 1, "timm": 2}
_MISSING = tuple((0,) * (5 - count) for count in range(6))  # gradients that an operation does not have
_threads = torch.get_num_threads
DTYPES: dict[torch.dtype, int] = native.STORAGE


_Shape = tuple[int, int, int, int]  # batch, channels, groups, size of a plane


def group_norm(
    x: Tensor,
    groups: int,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    *,
    out: Tensor | None = None,
    keep: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """y = (x − μ)/sqrt(σ² + ε) γ + β by groups of channels of one sample, and moments (2·batch·groups)."""
    given, x, shape = x, x.contiguous(), _shape(x, groups)
    y, moments = _result(x, out), _doubles(2 * shape[0] * groups, keep)
    _run(_GROUP_NORM, shape, eps, x, y, moments, weight=_wide(weight), bias=_wide(bias))
    return _delivered(y, out, given), moments


def group_norm_backward(
    x: Tensor, dy: Tensor, weight: Tensor | None, moments: Tensor, groups: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients for x, γ and β."""
    given, x, dy, dx = x, *_both(x, dy)
    d_weight, d_bias = (_floats(x.shape[1]) for _ in range(2))
    shape = _shape(x, groups)
    _run(_GROUP_NORM, shape, eps, x, dx, moments, dy=dy, weight=_wide(weight), gradients=(d_weight, d_bias))
    return _delivered(dx, None, given), d_weight, d_bias


def evonorm_s0(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    v: Tensor,
    groups: int,
    eps: float,
    *,
    out: Tensor | None = None,
    keep: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """y = x σ(v x)/sqrt(s² + ε) γ + β, and moments (2·batch·groups)."""
    given, x, shape = x, x.contiguous(), _shape(x, groups)
    y, moments = _result(x, out), _doubles(2 * shape[0] * groups, keep)
    _run(_EVONORM_S0, shape, eps, x, y, moments, weight=_wide(weight), bias=_wide(bias), v=_wide(v))
    return _delivered(y, out, given), moments


def evonorm_s0_backward(
    x: Tensor, dy: Tensor, weight: Tensor, v: Tensor, moments: Tensor, groups: int, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients for x, γ, β and v."""
    given, x, dy, dx = x, *_both(x, dy)
    shape, channels = _shape(x, groups), x.shape[1]
    gradients = _floats(channels), _floats(channels), _floats(channels)
    _run(_EVONORM_S0, shape, eps, x, dx, moments, dy=dy, weight=_wide(weight), v=_wide(v), gradients=gradients)
    return _delivered(dx, None, given), *gradients


def evonorm_b0(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    v: Tensor,
    running_var: Tensor,
    training: bool,
    momentum: float,
    eps: float,
    *,
    out: Tensor | None = None,
    keep: bool = True,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """y = x/max(sqrt(s²_batch + ε), v x + sqrt(s²_instance + ε)) γ + β; moments (2·batch·channels) and (2·channels).

    In training moves `running_var`, float32 and contiguous.
    """
    given, x, shape = x, x.contiguous(), _shape(x, x.shape[1])
    y, moments = _result(x, out), _doubles(2 * shape[0] * shape[1], keep)
    of_channels = _doubles(2 * shape[1], keep)
    _run(
        _EVONORM_B0,
        shape,
        eps,
        x,
        y,
        moments,
        statistics=_OF_BATCH if training else _GIVEN,
        speed=momentum,
        channel_moments=of_channels,
        running=(None, running_var),
        weight=_wide(weight),
        bias=_wide(bias),
        v=_wide(v),
    )
    return _delivered(y, out, given), moments, of_channels


def evonorm_b0_backward(
    x: Tensor,
    dy: Tensor,
    weight: Tensor,
    bias: Tensor,
    v: Tensor,
    moments: Tensor,
    channel_moments: Tensor,
    training: bool,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients for x, γ, β and v."""
    given, x, dy, dx = x, *_both(x, dy)
    channels = x.shape[1]
    gradients = _floats(channels), _floats(channels), _floats(channels)
    _run(
        _EVONORM_B0,
        _shape(x, channels),
        eps,
        x,
        dx,
        moments,
        dy=dy,
        statistics=_OF_BATCH if training else _GIVEN,
        channel_moments=channel_moments,
        weight=_wide(weight),
        bias=_wide(bias),
        v=_wide(v),
        gradients=gradients,
    )
    return _delivered(dx, None, given), *gradients


def batch_channel_norm(
    x: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    bn_weight: Tensor,
    bn_bias: Tensor,
    groups: int,
    weight: Tensor,
    bias: Tensor,
    training: bool,
    style: str,
    speed: float,
    eps: float,
    *,
    out: Tensor | None = None,
    keep: bool = True,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """y = w GN(γ (x − μ)/sqrt(σ² + ε) + β) + b; moments (2·batch·channels), and μ, σ² as used (2·channels).

    In training moves the running statistics, float32 and contiguous.
    """
    given, x, shape = x, x.contiguous(), _shape(x, groups)
    y, moments = _result(x, out), _doubles(2 * shape[0] * shape[1], keep)
    of_channels = _doubles(2 * shape[1], keep)
    _run(
        _BATCH_CHANNEL_NORM,
        shape,
        eps,
        x,
        y,
        moments,
        statistics=_statistics(training, style),
        speed=speed,
        channel_moments=of_channels,
        running=(running_mean, running_var),
        weight=_wide(weight),
        bias=_wide(bias),
        bn_weight=_wide(bn_weight),
        bn_bias=_wide(bn_bias),
    )
    return _delivered(y, out, given), moments, of_channels


def batch_channel_norm_backward(
    x: Tensor,
    dy: Tensor,
    bn_weight: Tensor,
    bn_bias: Tensor,
    weight: Tensor,
    moments: Tensor,
    channel_moments: Tensor,
    groups: int,
    training: bool,
    style: str,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients for x, γ, β, w and b."""
    given, x, dy, dx = x, *_both(x, dy)
    channels = x.shape[1]
    d_bn_weight, d_bn_bias = (_floats(channels) for _ in range(2))
    d_weight, d_bias = (_floats(*weight.shape) for _ in range(2))
    _run(
        _BATCH_CHANNEL_NORM,
        _shape(x, groups),
        eps,
        x,
        dx,
        moments,
        dy=dy,
        statistics=_statistics(training, style),
        channel_moments=channel_moments,
        weight=_wide(weight),
        bn_weight=_wide(bn_weight),
        bn_bias=_wide(bn_bias),
        gradients=(d_weight, d_bias, None, d_bn_weight, d_bn_bias),
    )
    return _delivered(dx, None, given), d_bn_weight, d_bn_bias, d_weight, d_bias


def weight_standardize(
    weight: Tensor, variant: str, eps: float, *, out: Tensor | None = None, keep: bool = True
) -> tuple[Tensor, Tensor | None]:
    """Ŵ = (W − mean)/σ by filters, and moments (2·filters)."""
    given, weight = weight, weight.contiguous()
    shape = _filters(weight)
    y, moments = _result(weight, out), _doubles(2 * shape[0], keep)
    _run(_WEIGHT_STANDARDIZE, shape, eps, weight, y, moments, denominator=_DENOMINATORS[variant])
    return _delivered(y, out, given), moments


def weight_standardize_backward(weight: Tensor, dy: Tensor, moments: Tensor, variant: str, eps: float) -> Tensor:
    """The gradient for W."""
    given, weight, dy, dx = weight, *_both(weight, dy)
    denominator = _DENOMINATORS[variant]
    _run(_WEIGHT_STANDARDIZE, _filters(weight), eps, weight, dx, moments, dy=dy, denominator=denominator)
    return _delivered(dx, None, given)


def _run(
    operation: int,
    shape: _Shape,
    eps: float,
    x: Tensor,
    result: Tensor,
    moments: Tensor | None,
    *,
    dy: Tensor | None = None,
    statistics: int = _GIVEN,
    denominator: int = 0,
    speed: float = 0.0,
    channel_moments: Tensor | None = None,
    running: tuple[Tensor | None, Tensor | None] = (None, None),
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    v: Tensor | None = None,
    bn_weight: Tensor | None = None,
    bn_bias: Tensor | None = None,
    gradients: tuple[Tensor | None, ...] = (),
) -> None:
    _planes(
        operation,
        dy is not None,
        statistics,
        denominator,
        DTYPES[x.dtype],
        *shape,
        eps,
        speed,
        x.data_ptr(),
        _address(dy),
        result.data_ptr(),
        _address(moments),
        _address(channel_moments),
        _address(running[0]),
        _address(running[1]),
        _address(weight),
        _address(bias),
        _address(v),
        _address(bn_weight),
        _address(bn_bias),
        *map(_address, gradients),
        *_MISSING[len(gradients)],
        _threads(),
    )


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _shape(x: Tensor, groups: int) -> _Shape:
    batch, channels = x.shape[:2]
    return batch, channels, groups, x.numel() // (batch * channels)


def _filters(weight: Tensor) -> _Shape:
    filters = weight.shape[0]
    return filters, 1, 1, weight.numel() // filters


def _statistics(training: bool, style: str) -> int:
    if not training:
        return _GIVEN
    return _OF_BATCH if style == "batch" else _ESTIMATED


def _doubles(count: int, keep: bool) -> Tensor | None:
    return torch.empty(count, dtype=torch.float64, device="cpu") if keep else None


def _floats(*shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.float32, device="cpu")


def _wide(parameter: Tensor | None) -> Tensor | None:
    """A parameter as the kernels read it: float32, one after the other."""
    if parameter is None or (parameter.dtype is torch.float32 and parameter.is_contiguous()):
        return parameter
    return parameter.float().contiguous()


def _fresh(x: Tensor) -> Tensor:
    """Memory like that of `x`, which is dense; a large one asks for huge pages."""
    y = torch.empty_like(x)
    if y.nbytes >= HUGE_PAGES_FROM:
        _native.advise_huge_pages(y.data_ptr(), y.nbytes)
    return y


def _result(x: Tensor, out: Tensor | None) -> Tensor:
    """Where the kernel writes: into `out` if that lies as `x` does."""
    return out if out is not None and out.is_contiguous() else _fresh(x)


def _delivered(y: Tensor, out: Tensor | None, given: Tensor) -> Tensor:
    """The result where it was asked for, or in the memory format of the tensor that it belongs to."""
    if out is not None:
        return y if y is out else out.copy_(y)
    return _fresh(given).copy_(y) if channels_last(given) else y


def channels_last(x: Tensor) -> bool:
    """Whether `x` lies with its channels side by side, and so not as the kernels read it."""
    if x.is_contiguous():
        return False
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return x.ndim in formats and x.is_contiguous(memory_format=formats[x.ndim])


def _both(x: Tensor, dy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Input and gradient as the kernels read them, and memory for the result."""
    x = x.contiguous()
    return x, dy.to(x.dtype).contiguous(), _fresh(x)
