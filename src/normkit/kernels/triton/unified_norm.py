"""Unified normalisation of CUDA tensors, statistics and windows by torch's operators, x by the column kernels."""

from typing import Any

from torch import Tensor

from normkit.kernels.triton import columns
from normkit.kernels.triton.availability import WHY_NOT
from normkit.kernels.triton.crossover import prefers
from normkit.kernels.unified_norm import by_columns, passes_of

__all__ = ["WHY_NOT", "prefers", "supports", "unified_norm"]

_PASSES = passes_of(columns)


def supports(op: str, input: Tensor, *args: Any, **options: Any) -> str | None:
    """None if the kernels can do this call, else the reason why not."""
    return columns.objection(input, 0, *args)


def unified_norm(input: Tensor, weight: Tensor, bias: Tensor, running_var: Tensor, *args: Any) -> Tensor:
    """y = γ x / sqrt(σ² + ε) + β; arguments as `normkit.functional.unified_norm`."""
    return by_columns(_PASSES, input, weight, bias, running_var, *args)
