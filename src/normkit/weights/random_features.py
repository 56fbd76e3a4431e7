"""Random weights for a network whose maps will stay as they are drawn.

Source: Frankle et al. 2021, "Training BatchNorm and Only BatchNorm", arXiv:2003.00152, appendix on initialisation;
He et al. 2015, arXiv:1502.01852, for the scale.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

__all__ = ["random_features_"]

Module = TypeVar("Module", bound=nn.Module)
_MAPS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def _binary(weight: Tensor, generator: torch.Generator | None) -> Tensor:
    """Random signs times √(2/fan_in), the deviation that "kaiming_normal" has."""
    nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)
    return weight.copy_(torch.sign(weight) * (2 / weight[0].numel()) ** 0.5)


_KINDS: dict[str, Callable[[Tensor, torch.Generator | None], Tensor]] = {
    "kaiming_normal": lambda w, generator: nn.init.kaiming_normal_(w, nonlinearity="relu", generator=generator),
    "kaiming_uniform": lambda w, generator: nn.init.kaiming_uniform_(w, nonlinearity="relu", generator=generator),
    "binary": _binary,
    "orthogonal": lambda w, generator: nn.init.orthogonal_(w, generator=generator),
}


@torch.no_grad()
def random_features_(model: Module, kind: str = "kaiming_normal", generator: torch.Generator | None = None) -> Module:
    """Draw the weight (filters, …) of every linear map and convolution anew, in place; returns the model.

    "kaiming_normal" and "kaiming_uniform" have the deviation √(2/fan_in) (a ReLU behind), "binary" is its sign times
    that deviation, "orthogonal" has orthonormal rows or columns. Shapes and biases stay.

    Source: Frankle et al. 2021, arXiv:2003.00152; He et al. 2015, arXiv:1502.01852, eq. 10.

    Raises:
        ValueError: another kind, or the model has no linear map or convolution.
    """
    if kind not in _KINDS:
        raise ValueError(f"kind is {kind!r}: it must be one of {', '.join(_KINDS)}")
    maps = [module for module in model.modules() if isinstance(module, _MAPS)]
    if not maps:
        raise ValueError(f"{type(model).__name__} has no linear map or convolution")
    for module in maps:
        _KINDS[kind](module.weight, generator)
    return model
