"""torch's own group normalisation: every device, autograd, tracing."""

import torch.nn.functional as F
from torch import Tensor

__all__ = ["group_norm"]


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """torch's group normalisation; parameters of another type than the input's are brought to it.

    The result is copied into `out=`: so does torch's own operation with that argument, which no public function has.
    """
    weight, bias = (None if each is None else each.to(input.dtype) for each in (weight, bias))
    return F.group_norm(input, num_groups, weight, bias, eps)
