"""Power normalisation of CUDA tensors. Every training call reads x twice: whether the warm-up is over stays there."""

from typing import Any

from torch import Tensor

from normkit.kernels.power_norm import by_columns
from normkit.kernels.triton import columns
from normkit.kernels.triton.availability import WHY_NOT
from normkit.kernels.triton.crossover import prefers

__all__ = ["WHY_NOT", "power_norm", "prefers", "supports"]

_GROUP_NUM = 8  # where it stands among the arguments that follow `running_phi`


def supports(op: str, input: Tensor, *args: Any, **options: Any) -> str | None:
    """None if the kernels can do this call, else the reason why not."""
    rest = args[3:]
    return columns.objection(input, rest[_GROUP_NUM - 1] if len(rest) >= _GROUP_NUM else 1, *args)


def power_norm(input: Tensor, weight: Tensor | None, bias: Tensor | None, running_phi: Tensor, *args: Any) -> Tensor:
    """y = γ u / sqrt(d + ε) + β; arguments as `normkit.functional.power_norm`."""
    return by_columns(columns, input, weight, bias, running_phi, *args)
