"""Running statistics stay in float32 or wider when a module is cast to half precision.

A moving average in half precision stands still as soon as a step is below its rounding: in bfloat16 that is a relative
change of 0.4 %, more than one step of speed 0.02 makes.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from normkit.kernels.reference._precision import statistics_dtype

__all__ = ["RunningStatistics", "running_dtype"]


def running_dtype(dtype: torch.dtype | None) -> torch.dtype:
    """The type of the running statistics of a layer whose parameters have `dtype` (None: torch's default)."""
    return statistics_dtype(torch.get_default_dtype() if dtype is None else dtype)


class RunningStatistics(nn.Module):
    """A module whose floating-point buffers keep their precision under `half()`, `bfloat16()` and `to(dtype)`."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "RunningStatistics":
        before = {name: buffer for name, buffer in self._buffers.items() if buffer is not None}
        super()._apply(fn, recurse)
        for name, old in before.items():
            new: Any = self._buffers[name]
            if new.is_floating_point() and new.dtype != statistics_dtype(new.dtype):
                self._buffers[name] = old.to(device=new.device, dtype=statistics_dtype(new.dtype))
        return self
