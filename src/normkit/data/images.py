"""Images as networks take them, and the usual mistakes named before a network silently learns nothing from them."""

from typing import Any

import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["as_images"]

_CHANNELS = (1, 3)


def as_images(X: NDArray[Any] | Tensor, highest: float = 255.0) -> Float[Tensor, "batch channels height width"]:
    """Images (N, …) as floats, channels first.

    Bytes, (N, height, width, channels) or (N, channels, height, width), become float32 in −1…1: 2x/highest − 1.
    Floats must be channels first and scaled already; they are returned as they are.

    Args:
        X: the images, 1 or 3 channels.
        highest: the byte that is white.

    Raises:
        ValueError: not four axes, an alpha channel, floats with the channels last, or floats that run to 255; says what
            to do.
    """
    x = torch.as_tensor(X)
    if x.ndim != 4:
        raise ValueError(f"images have shape {tuple(x.shape)}: (N, channels, height, width) is wanted; add an axis")
    last = x.shape[1] not in _CHANNELS and x.shape[-1] in _CHANNELS
    if not last and x.shape[1] not in _CHANNELS and 4 in (x.shape[1], x.shape[-1]):
        raise ValueError(f"images have shape {tuple(x.shape)}, so 4 channels (RGBA): drop the alpha channel first")
    if x.is_floating_point():
        _check_floats(x, last)
        return x
    x = x.permute(0, 3, 1, 2) if last else x
    return (x.float() * (2 / highest) - 1).contiguous()


def _check_floats(x: Tensor, last: bool) -> None:
    if last:
        raise ValueError(
            f"images have shape {tuple(x.shape)}, so the channels stand last: use x.permute(0, 3, 1, 2) (numpy: "
            "transpose), since layers here take (N, channels, height, width)"
        )
    if x.numel() and x.min() >= 0 and 128 <= x.max() <= 255:
        raise ValueError(
            f"images are floats from {float(x.min()):g} to {float(x.max()):g}, so unscaled bytes: use x / 127.5 - 1, "
            "or give them as uint8"
        )
