"""Softmax and log-softmax layers: torch's, computed by `normkit.functional`.

    y_i = e^(x_i) / Σ_j e^(x_j)          y_i = x_i − log Σ_j e^(x_j)

Source: Dukhan and Ablavatski 2020, arXiv:2001.04438.
"""

import warnings

import torch
from jaxtyping import Shaped
from torch import Tensor

from normkit.functional.log_softmax import log_softmax
from normkit.functional.softmax import softmax

__all__ = ["LogSoftmax", "Softmax"]


class Softmax(torch.nn.Softmax):
    """y_i = e^(x_i) / Σ_j e^(x_j) along `dim`: `torch.nn.Softmax` within 6 units in the last place at any length.

    Args:
        dim: the axis that is normalised; None takes the one that torch would take, with a warning.

    Shape:
        any shape with the axis `dim`; the output has the same.

    Raises:
        TypeError: in the call, for an input that is no float tensor.
        IndexError: in the call, for an input without the axis `dim`.
    """

    def forward(self, input: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        """y of the input's shape and dtype."""
        return softmax(input, _implicit_axis(input) if self.dim is None else self.dim)


class LogSoftmax(torch.nn.LogSoftmax):
    """y_i = x_i − log Σ_j e^(x_j) along `dim`: `torch.nn.LogSoftmax`, exact at any length.

    Args:
        dim: the axis that is normalised; None takes the one that torch would take, with a warning.

    Shape:
        any shape with the axis `dim`; the output has the same.

    Raises:
        TypeError: in the call, for an input that is no float tensor.
        IndexError: in the call, for an input without the axis `dim`.
    """

    def forward(self, input: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        """y of the input's shape and dtype."""
        return log_softmax(input, _implicit_axis(input) if self.dim is None else self.dim)


def _implicit_axis(input: Tensor) -> int:
    """The axis that torch takes where none is named: the first of one or three, else the second."""
    chosen = 0 if input.ndim in (0, 1, 3) else 1
    warnings.warn(f"dim was not given: axis {chosen} is normalised; name it, e.g. Softmax(dim=-1)", stacklevel=4)
    return chosen
