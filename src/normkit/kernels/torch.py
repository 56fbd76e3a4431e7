"""torch's own operators, and the cheapest composites of them where torch has none: every device, autograd, tracing."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from normkit.kernels.reference._precision import statistics_dtype

__all__ = ["crms_norm", "cross_entropy", "layer_norm", "log_softmax", "logsumexp", "rms_norm", "softmax", "supports"]


def softmax(
    input: Tensor, dim: int, accuracy: str = "default", masked_zero: bool = False, deterministic: bool = False
) -> Tensor:
    """torch's softmax; through float64 for `accuracy="high"`. It is the same from run to run on a CPU."""
    x, masked = _open(input, dim, accuracy, masked_zero)
    y = torch.softmax(x, dim)
    return (y if masked is None else y.masked_fill(masked, 0.0)).to(input.dtype)


def log_softmax(
    input: Tensor, dim: int, accuracy: str = "default", masked_zero: bool = False, deterministic: bool = False
) -> Tensor:
    """torch's log-softmax; through float64 for `accuracy="high"`."""
    x, masked = _open(input, dim, accuracy, masked_zero)
    y = torch.log_softmax(x, dim)
    return (y if masked is None else y.masked_fill(masked, -torch.inf)).to(input.dtype)


def logsumexp(input: Tensor, dim: int, keepdim: bool = False) -> Tensor:
    """log Σ e^x along `dim` by torch's own operation."""
    return torch.logsumexp(input, dim, keepdim)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """torch's own cross-entropy, which keeps the log-probabilities; weights and probabilities of the input's dtype."""
    return torch.nn.functional.cross_entropy(
        input,
        target.to(input.dtype) if target.is_floating_point() else target,
        _to(weight, input.dtype),
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )


def supports(op: str, *args: Any, **options: Any) -> str | None:
    """None where torch can do this call: always, but for the one gradient that it lacks."""
    weight = args[2] if op == "cross_entropy" and len(args) > 2 else None
    if weight is None or not (weight.requires_grad and torch.is_grad_enabled()):
        return None
    return "torch has no derivative of cross-entropy by the class weights"


def _open(input: Tensor, dim: int, accuracy: str, masked_zero: bool) -> tuple[Tensor, Tensor | None]:
    """The input as torch shall see it and, if asked for, which rows are all −inf; those rows are zeros then."""
    x = input.double() if accuracy == "high" else input
    if not masked_zero:
        return x, None
    masked = (x == -torch.inf).all(dim, keepdim=True)
    return x.masked_fill(masked, 0.0), masked


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    residual: Tensor | None = None,
    prenorm: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """torch's fused LayerNorm; where its parameters' dtype is not one it takes, through the wider dtype."""
    x = input if residual is None else input + residual
    dtype = x.dtype
    if (weight is None or weight.dtype == dtype) and (bias is None or bias.dtype == dtype):
        y = torch.layer_norm(x, normalized_shape, weight, bias, eps)
    else:
        wide = statistics_dtype(dtype)
        y = torch.layer_norm(x.to(wide), normalized_shape, _to(weight, wide), _to(bias, wide), eps).to(dtype)
    return (y, x) if prenorm else y


def rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    eps: float | None,
    bias: Tensor | None = None,
    offset: float = 0.0,
    cast: str = "torch",
    residual: Tensor | None = None,
    prenorm: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """torch's RMSNorm, with the residual sum, the bias, the offset and the roundings that it lacks."""
    x = input if residual is None else input + residual
    y = _rms_norm(x, normalized_shape, weight, eps, bias, offset, cast)
    return (y, x) if prenorm else y


def _rms_norm(
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    eps: float | None,
    bias: Tensor | None,
    offset: float,
    cast: str,
) -> Tensor:
    if bias is None and offset == 0.0 and cast != "llama" and (weight is None or weight.dtype == x.dtype):
        return torch.rms_norm(x, normalized_shape, weight, eps)
    if cast == "llama":
        normal = torch.rms_norm(x, normalized_shape, None, eps)
        return _affine(normal, _to(weight, x.dtype), _to(bias, x.dtype), offset)
    wide = statistics_dtype(x.dtype)
    normal = torch.rms_norm(x.to(wide), normalized_shape, None, eps)
    return _affine(normal, _to(weight, wide), _to(bias, wide), offset).to(x.dtype)


def crms_norm(input: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    """Sum and sum of squares each in one read, then one multiplication: no temporary of the input's size."""
    z = input.to(statistics_dtype(input.dtype))
    last = z.sum(-1, keepdim=True)
    square = torch.addcmul(torch.linalg.vecdot(z, z).unsqueeze(-1), last, last)
    normal = z * torch.rsqrt(square / (z.shape[-1] + 1) + eps)
    return _affine(normal, _to(weight, z.dtype), None, 0.0).to(input.dtype)


def _to(parameter: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    return None if parameter is None else parameter.to(dtype)


def _affine(normal: Tensor, weight: Tensor | None, bias: Tensor | None, offset: float) -> Tensor:
    if weight is None:
        return normal if bias is None else normal + bias
    weight = weight + offset if offset else weight
    return normal * weight if bias is None else torch.addcmul(bias, normal, weight)
