"""Small changes of training images that leave their class: a shift and a reflection."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

__all__ = ["crop_and_flip"]


def crop_and_flip(
    x: Float[Tensor, "batch channels height width"], padding: int = 4, generator: torch.Generator | None = None
) -> Float[Tensor, "batch channels height width"]:
    """Each image padded by `padding` zeros, cut back to its size at a random place, and mirrored in half of the cases.

    Source: He et al. 2016, arXiv:1512.03385, section 4.2 (CIFAR-10).

    Args:
        x: the images, on any device.
        padding: the largest shift, in pixels.
        generator: of the draws, on the CPU; None takes torch's default one.

    Raises:
        ValueError: a negative padding.
    """
    if padding < 0:
        raise ValueError(f"padding is {padding}: it must not be negative")
    batch, _, height, width = x.shape
    top, left = torch.randint(2 * padding + 1, (2, batch, 1), generator=generator)
    mirrored = torch.rand(batch, 1, generator=generator) < 0.5
    columns = torch.where(mirrored, torch.arange(width - 1, -1, -1), torch.arange(width)) + left
    rows = torch.arange(height) + top
    padded = F.pad(x, (padding,) * 4)
    sample, rows, columns = (index.to(x.device) for index in (torch.arange(batch), rows, columns))
    return padded[sample[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
