"""What the layers over (batch, channels, space) check in a call: 1d, 2d and 3d have one, two and three axes of it."""

from torch import Tensor

from normkit.kernels.arguments import check_float

__all__ = ["check_maps"]


_AXES = {1: "length", 2: "height, width", 3: "depth, height, width"}


def check_maps(layer: str, input: Tensor, num_channels: int, space: int = 2) -> None:
    """Raise TypeError or ValueError unless `input` is a float (batch, num_channels, …) with `space` more axes."""
    check_float(layer, input)
    if input.ndim != 2 + space:
        wanted = f"(batch, channels, {_AXES[space]})"
        raise ValueError(f"{layer}: input must be {wanted}, got the shape {tuple(input.shape)}")
    if input.shape[1] != num_channels:
        raise ValueError(f"{layer}: made for {num_channels} channels, got an input of shape {tuple(input.shape)}")
