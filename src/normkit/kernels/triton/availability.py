"""Whether Triton kernels can run here at all."""

import os
from importlib.util import find_spec

import torch

__all__ = ["INTERPRETED", "WHY_NOT"]

# Triton's interpreter: the kernels run as numpy on CPU tensors. It is for tests, thousands of times too slow for work.
INTERPRETED: bool = os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes", "y")


def _why_not() -> str:
    if find_spec("triton") is None:
        return "triton is not installed; on Linux `pip install triton` brings it"
    if INTERPRETED:
        return ""
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    # Counted through NVML where that is there, which leaves the process able to fork.
    return "" if torch.cuda.device_count() else "torch sees no CUDA device"


WHY_NOT: str = _why_not()
