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
    """torch's own cross-entropy, which keeps the log-probabilities."""
    return torch.nn.functional.cross_entropy(
        input,
        target,
        weight,
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
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """torch's fused LayerNorm; where its parameters' dtype is not one it takes, through the wider dtype."""
    dtype = input.dtype
    if (weight is None or weight.dtype == dtype) and (bias is None or bias.dtype == dtype):
        return torch.layer_norm(input, normalized_shape, weight, bias, eps)
    wide = statistics_dtype(input.dtype)
    y = torch.layer_norm(input.to(wide), normalized_shape, _to(weight, wide), _to(bias, wide), eps)
    return y.to(input.dtype)


def rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    eps: float | None,
    bias: Tensor | None = None,
    offset: float = 0.0,
    cast: str = "torch",
) -> Tensor:
    """torch's RMSNorm, with the bias, the offset and the roundings that it lacks."""
    if bias is None and offset == 0.0 and cast != "llama" and (weight is None or weight.dtype == input.dtype):
        return torch.rms_norm(input, normalized_shape, weight, eps)
    if cast == "llama":
        normal = torch.rms_norm(input, normalized_shape, None, eps)
        return _affine(normal, _to(weight, input.dtype), _to(bias, input.dtype), offset)
    wide = statistics_dtype(input.dtype)
    normal = torch.rms_norm(input.to(wide), normalized_shape, None, eps)
    return _affine(normal, _to(weight, wide), _to(bias, wide), offset).to(input.dtype)


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
