"""What the suites of recurrent layers share: their inputs, and a layer that computes with given tensors."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

from normkit.benchmarks._harness.suite import Inputs

__all__ = ["WEIGHTS", "inputs_of", "layer_of", "long", "unused"]

WEIGHTS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


def inputs_of(gates: int, norms: Sequence[int]) -> Callable[[tuple[int, ...], torch.Generator], Inputs]:
    """A maker of inputs for shapes (steps, batch, width): the sequence, four weights as torch draws them, and gains and
    shifts of the norms, whose sizes are given in widths.

    Gains around ½: with 1 such a recurrence enlarges a rounding error a thousandfold within 64 steps, whoever computes
    it, and float32 could not be compared with float64.
    """

    def make(shape: tuple[int, ...], generator: torch.Generator) -> Inputs:
        width = shape[-1]
        rows = gates * width
        weights = [
            (2 * torch.rand(size, generator=generator) - 1) * width**-0.5
            for size in ((rows, width), (rows, width), (rows,), (rows,))
        ]
        affine = [
            start + 0.1 * torch.randn(size * width, generator=generator) for size in norms for start in (0.5, 0.0)
        ]
        return (torch.randn(shape, generator=generator), *weights, *affine)

    return make


@lru_cache(maxsize=8)
def layer_of(make: Callable[[int, int], nn.Module], norms: tuple[str, ...], *parameters: Tensor) -> nn.Module:
    """A layer that computes with these very tensors, so that gradients can be asked for."""
    width = parameters[1].shape[1]
    layer = make(width, width)
    names = (*WEIGHTS, *(f"{norm}_l0.{name}" for norm in norms for name in ("weight", "bias")))
    for path, tensor in zip(names, parameters, strict=True):
        owner, _, name = path.rpartition(".")
        module = layer.get_submodule(owner)
        delattr(module, name)
        setattr(module, name, tensor)
    return layer


def unused(parameters: Sequence[Tensor]) -> Tensor:
    """0, of which a gradient for each of these can be asked: a peer without norms has no use for theirs."""
    return torch.cat([parameter.view(-1) for parameter in parameters]).sum() * 0.0


def long(shape: tuple[int, ...]) -> bool:
    """Whether there are enough steps that what is done once, checks and the choice of a loop, does not count."""
    return shape[0] >= 32
