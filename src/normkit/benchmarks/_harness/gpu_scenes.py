"""The settings on a GPU that suites share: a small call for its latency, large ones for the rate of their bytes.

Large means more than caches hold, so that nothing has to be flushed between calls. Results are fresh on all sides: on
a GPU memory comes from torch's own store and costs no page faults.
"""

from typing import Any

import torch

from normkit.benchmarks._harness.setting import Scene, Shape

__all__ = ["gpu_scenes", "on_gpu"]


def on_gpu(shape: Shape, mode: str = "fwd", dtype: torch.dtype = torch.float32, **options: Any) -> Scene:
    """One setting."""
    return Scene(shape, mode=mode, dtype=dtype, device="cuda", **options)


def gpu_scenes(small: Shape, large: Shape) -> tuple[Scene, ...]:
    """A large call, its backward pass, and the same in bfloat16; a small one, and with its gradient."""
    return (
        on_gpu(large, kernels=True),
        on_gpu(large, "bwd"),
        on_gpu(large, dtype=torch.bfloat16),
        on_gpu(small),
        on_gpu(small, "fwd+bwd"),
    )
