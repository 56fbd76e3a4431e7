"""What norms over positions check in a mask of padding."""

import torch
from torch import Tensor

from normkit.kernels.dispatch import tracing

__all__ = ["check_pad_mask"]


def check_pad_mask(name: str, input: Tensor, pad_mask: Tensor, *, read: bool) -> None:
    """Raise TypeError or ValueError unless the mask is boolean, has a value a position, and leaves one where `read`.

    Whether it leaves one matters where this process alone takes a statistic of what is left. It is looked at on the
    CPU; elsewhere, and in traced code, the device asserts it by itself.
    """
    if pad_mask.dtype != torch.bool:
        raise TypeError(f"{name}: pad_mask must be boolean (True at padding), got {pad_mask.dtype}")
    if pad_mask.shape != input.shape[:-1]:
        raise ValueError(
            f"{name}: pad_mask must have one value a position, {tuple(input.shape[:-1])}, got the shape "
            f"{tuple(pad_mask.shape)}; transpose it where batch and length stand the other way round"
        )
    if not (read and pad_mask.numel()):
        return
    message = f"{name}: pad_mask masks every position, so that nothing is left to take a statistic of"
    if tracing() or not pad_mask.is_cpu:
        torch._assert_async(pad_mask.logical_not().any(), message)
    elif bool(pad_mask.all()):
        raise ValueError(message)
