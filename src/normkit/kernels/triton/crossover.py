"""Where torch's own kernels are quicker because a launch from Python costs more than the work."""

from typing import Any

import torch
from torch import Tensor

from normkit.kernels.triton import tuning
from normkit.kernels.triton.availability import INTERPRETED

__all__ = ["ELEMENTS", "prefers"]

# Elements below which a call is left to torch where nothing was measured: 256 KiB of float32, which a GPU of today
# moves in a fraction of the microseconds that a Triton launch takes. A guess; `tune_crossovers` measures.
ELEMENTS = 1 << 16


def prefers(op: str, input: Tensor, *args: Any, **options: Any) -> str | None:
    """Why the next kernel is quicker for a call that this one could do; None where it is not."""
    if torch.compiler.is_compiling():
        return "a compiler fuses torch's own operators with what surrounds them"
    if INTERPRETED:
        return "Triton's interpreter is there to test, not to compute"
    least = tuning.crossover(op, input.dtype, input.device, ELEMENTS)
    return f"torch is quicker below {least} elements" if input.numel() < least else None
