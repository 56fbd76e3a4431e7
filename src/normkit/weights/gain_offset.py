"""The constant that a normaliser adds to the gain that it stores, found by running it: no name says it.

    y(w) = (c + w) · n + b,   so with b = 0:  n = y(1) − y(0)  and  c = ⟨y(0), n⟩ / ⟨n, n⟩

Gemma's RMSNorm has c = 1 and stores γ − 1; Llama's, which has the same attributes, has c = 0.
"""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn

__all__ = ["offset_by_trial"]

_CLOSE = 1e-3
"""How far y may be from the line in w, over the length of n; single precision inside a norm is good to 1e-6."""


@torch.no_grad()
def offset_by_trial(normalizer: nn.Module, gain: str, shift: str | None) -> float | None:
    """c of a normaliser whose gain and shift have these names; None where it cannot be run or is no such line in w.

    A copy is run, by its class's own `forward` (without hooks, and without what a wrapper has put in its place), on
    random vectors with the channels last, then second. Shapes: the gain's, mostly (channels,).
    """
    channels = getattr(normalizer, gain).shape
    for dtype in (torch.float64, torch.float32):
        for shape in ((2, *channels), (2, *channels, 2, 2)):
            try:
                run = _by_weight(normalizer, gain, shift, dtype, shape)
                found = _constant(run(0.0), run(1.0), run(2.0))
            except Exception:  # foreign code raises whatever it likes on an input that is not for it
                continue
            if found is not None:
                return found
    return None


def _by_weight(
    normalizer: nn.Module, gain: str, shift: str | None, dtype: torch.dtype, shape: tuple[int, ...]
) -> Callable[[float], Tensor]:
    """What a copy gives for one input as a function of its weight."""
    copy = deepcopy(normalizer).eval().to(dtype)
    if shift is not None:
        getattr(copy, shift).zero_()
    weight: Tensor = getattr(copy, gain)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype).to(weight.device)

    def run(value: float) -> Tensor:
        weight.fill_(value)
        output = type(copy).forward(copy, x)
        assert isinstance(output, Tensor)
        return output.double()

    return run


def _constant(zero: Tensor, one: Tensor, two: Tensor) -> float | None:
    normal = one - zero
    length = normal.norm()
    constant = (zero * normal).sum() / length.square()
    off_the_line = torch.maximum((two - zero - 2 * normal).norm(), (zero - constant * normal).norm())
    if not off_the_line <= _CLOSE * length or length == 0:  # also where something is not finite
        return None
    return round(constant.item(), 4)
