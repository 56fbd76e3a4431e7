"""Tensors (batch, channels, *space): the checks and the broadcasting that channel-wise operations share."""

from torch import Tensor

from normkit.kernels.arguments import check_float

__all__ = ["check_channels", "check_groups", "check_several", "per_channel"]


def per_channel(values: Tensor, x: Tensor) -> Tensor:
    """Values of the channels (C) in x's type, shaped (1, C, 1, …) to broadcast over x (B, C, …)."""
    return values.to(x.dtype).reshape(1, -1, *[1] * (x.ndim - 2))


def check_channels(op: str, input: Tensor, **parameters: Tensor | None) -> None:
    """Raise TypeError or ValueError unless `input` is a float (B, C, *space) and each parameter (C,)."""
    check_float(op, input, **parameters)
    if input.ndim < 3:
        raise ValueError(f"{op}: input must be (batch, channels, *space), got the shape {tuple(input.shape)}")
    for name, parameter in parameters.items():
        if parameter is not None and tuple(parameter.shape) != (input.shape[1],):
            raise ValueError(
                f"{op}: {name} must hold one value for each of the {input.shape[1]} channels, got the shape "
                f"{tuple(parameter.shape)}"
            )


def check_groups(op: str, channels: int, groups: int, what: str = "{} groups") -> None:
    """Raise ValueError unless `groups` divides `channels`; the message lists what does, and calls it `what`."""
    if groups < 1 or channels % groups:
        fitting = ", ".join(str(divisor) for divisor in range(1, channels + 1) if channels % divisor == 0)
        wanted = what.format(groups)
        raise ValueError(f"{op}: {channels} channels cannot be cut into {wanted}; what fits is {fitting}")


def check_several(op: str, input: Tensor, what: str) -> None:
    """Raise ValueError where a channel has a single value in training, whose variance says nothing."""
    if input.numel() == input.shape[1]:
        raise ValueError(
            f"{op}: {what} needs more than one value a channel in training, got an input of shape "
            f"{tuple(input.shape)}; use a larger batch, larger maps or evaluation mode"
        )
