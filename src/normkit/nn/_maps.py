"""What the layers over images (batch, channels, height, width) check in a call."""

from torch import Tensor

from normkit.kernels.arguments import check_float

__all__ = ["check_maps"]


def check_maps(layer: str, input: Tensor, num_channels: int) -> None:
    """Raise TypeError or ValueError unless `input` is a float (batch, num_channels, height, width)."""
    check_float(layer, input)
    if input.ndim != 4:
        raise ValueError(f"{layer}: input must be (batch, channels, height, width), got the shape {tuple(input.shape)}")
    if input.shape[1] != num_channels:
        raise ValueError(f"{layer}: made for {num_channels} channels, got an input of shape {tuple(input.shape)}")
