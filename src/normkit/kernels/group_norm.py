"""torch's own group normalisation: every device, autograd, tracing."""

import torch
import torch.nn.functional as F
from torch import Tensor

from normkit.kernels.dispatch import tracing

__all__ = ["group_norm"]


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """torch's group normalisation; parameters of another type than the input's are brought to it."""
    weight, bias = (None if each is None else each.to(input.dtype) for each in (weight, bias))
    if out is None:
        return F.group_norm(input, num_groups, weight, bias, eps)
    if tracing() or not (input.is_contiguous() and out.is_contiguous()):
        return out.copy_(F.group_norm(input, num_groups, weight, bias, eps))
    # The public function has no out=; the operation under it does, and gives mean and 1/std besides.
    batch, channels = input.shape[:2]
    sizes = (batch, channels, input.shape[2:].numel(), num_groups)
    mean, rstd = input.new_empty(batch, num_groups), input.new_empty(batch, num_groups)
    torch.ops.aten.native_group_norm.out(input, weight, bias, *sizes, eps, out0=out, out1=mean, out2=rstd)
    return out
