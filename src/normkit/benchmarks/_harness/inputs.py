"""Random inputs of the suites: normal numbers, never zeros, from a generator that is given."""

from math import prod

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["channel_parameters", "normal", "rising"]

Shape = tuple[int, ...]


def normal(shape: Shape, generator: torch.Generator) -> tuple[Float[Tensor, "*shape"]]:
    """One tensor of standard normal numbers."""
    return (torch.randn(shape, generator=generator),)


def channel_parameters(channels: int, count: int, generator: torch.Generator) -> tuple[Float[Tensor, " channels"], ...]:
    """`count` parameters of one number per channel, around 1."""
    return tuple(1 + 0.3 * torch.randn(channels, generator=generator) for _ in range(count))


def rising(shape: Shape) -> Float[Tensor, "*shape"]:
    """Rows that rise steadily from −50 to 50: a running maximum moves all the way along."""
    return torch.linspace(-50, 50, shape[-1]).expand(prod(shape[:-1]), -1).reshape(shape).contiguous()
