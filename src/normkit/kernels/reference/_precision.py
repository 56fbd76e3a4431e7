"""The type in which statistics are computed: float32, or wider where the input is wider."""

import torch

__all__ = ["statistics_dtype"]


def statistics_dtype(dtype: torch.dtype) -> torch.dtype:
    """float64 stays float64; every narrower floating type is widened to float32."""
    return torch.promote_types(dtype, torch.float32)
