"""Which calls are element-wise activations."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["is_activation"]

_MODULES = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.ELU,
    nn.SELU,
    nn.CELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Hardswish,
    nn.Softplus,
    nn.Tanh,
    nn.Sigmoid,
)
_FUNCTIONS = frozenset(
    {
        *(torch.relu, torch.relu_, torch.sigmoid, torch.tanh),
        *(torch.Tensor.relu, torch.Tensor.relu_, torch.Tensor.sigmoid, torch.Tensor.tanh),
        *(F.relu, F.relu_, F.relu6, F.leaky_relu, F.elu, F.selu, F.celu, F.gelu, F.silu, F.mish, F.hardswish),
        *(F.softplus, F.tanh, F.sigmoid),
    }
)


def is_activation(call: nn.Module | Callable[..., Any] | None) -> bool:
    """Whether `call`, a module or a torch function, is an element-wise activation such as ReLU, SiLU or GELU."""
    if isinstance(call, nn.Module):
        return isinstance(call, _MODULES)
    return call in _FUNCTIONS
