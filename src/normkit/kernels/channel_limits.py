"""Which calls of a channel norm the native kernels can do, and which of those torch is quicker for."""

from typing import Any

import torch
from torch import Tensor

from normkit.kernels import native_planes
from normkit.kernels.differentiable import objection
from normkit.kernels.dispatch import exporting

__all__ = ["prefers", "supports"]

_TRACED = ("evonorm_s0", "weight_standardize")  # those that have an operator


def supports(op: str, input: Tensor, *args: Any) -> str | None:
    """None if the native kernel can do this call, else the reason why not."""
    if native_planes.WHY_NOT:
        return native_planes.WHY_NOT
    if torch.compiler.is_compiling() and op in _TRACED and not exporting():
        taken = input.is_cpu and input.dtype in native_planes.DTYPES and input.numel() > 0
        taken = taken and (op == "weight_standardize" or args[2] is not None)
        return None if taken else "the operator takes CPU tensors of float32 and half types, and a slope"
    return objection(input, args, native_planes.DTYPES) or _own_objection(op, args)


# From which size on the native kernel is the quicker one. Below, what counts is the call, and what there is to do for
# each plane however small. Group norm without a gradient has the limits of its quick call; with one: planes of so many
# elements, in tensors of so many. Measured by
# `normkit bench group_norm batch_channel_norm evonorm_s0 evonorm_b0 weight_standardize --threads 1`.
_GROUP_NORM_RECORDED_FROM = (784, 4 << 20)
_LEAST_PLANE = {"evonorm_s0": 2, "evonorm_b0": 4, "batch_channel_norm": 16}
_MANY_PLANES = 8 << 10  # elements from which on planes below that are too many
_SHORT_FILTER = 9
_FEW_WEIGHTS = 32 << 10


def prefers(op: str, input: Tensor, *args: Any) -> str | None:
    """None, or why torch's kernel is the quicker one for a call that this one could do."""
    if torch.compiler.is_compiling():
        return None
    recorded = torch.is_grad_enabled() and input.requires_grad
    if op == "weight_standardize":
        return _prefers_layer_norm(input, args[0], recorded)
    if op in ("group_norm", "batch_channel_norm") and native_planes.channels_last(input):
        return "torch has a kernel for channels-last tensors"
    elements = input.numel()
    size = elements // (input.shape[0] * input.shape[1])
    if op == "group_norm":
        return _prefers_group_norm(size, elements, recorded)
    if size < _LEAST_PLANE[op] and elements > _MANY_PLANES:
        return f"torch is quicker for planes of less than {_LEAST_PLANE[op]} elements"
    return None


def _prefers_group_norm(size: int, elements: int, recorded: bool) -> str | None:
    if recorded:
        least_size, least = _GROUP_NORM_RECORDED_FROM
        small = size < least_size or elements < least
        return f"torch is quicker below {least} elements, and for planes of less than {least_size}" if small else None
    if size <= native_planes.TINY_PLANE and elements > native_planes.MANY_PLANES:
        return f"torch is quicker for planes of up to {native_planes.TINY_PLANE} elements"
    return None


def _prefers_layer_norm(weight: Tensor, variant: str, recorded: bool) -> str | None:
    """Why torch's layer normalisation is quicker; it does not know the denominator of "official"."""
    if variant == "official":
        return None
    if weight.numel() <= _SHORT_FILTER * weight.shape[0]:
        return f"torch is quicker for filters of up to {_SHORT_FILTER} entries"
    if variant == "timm" and recorded and weight.numel() < _FEW_WEIGHTS:
        return f"torch's gradient is quicker below {_FEW_WEIGHTS} elements"
    return None


def _own_objection(op: str, args: tuple[Any, ...]) -> str | None:
    if op in ("evonorm_s0", "evonorm_b0") and args[2] is None:
        return "without v nothing is normalised: y = γ x + β"
    running = {"evonorm_b0": args[3:4], "batch_channel_norm": args[:2]}.get(op, ())
    for statistic in running:
        if statistic.dtype is not torch.float32 or not statistic.is_contiguous():
            return f"the running statistics must be contiguous float32, got {statistic.dtype}"
    if op == "batch_channel_norm" and args[7] and isinstance(args[9], Tensor) and args[9].numel() != 1:
        return "the speed differs between channels"
    return None
