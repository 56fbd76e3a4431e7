"""What the loops of layer-normalised recurrences share that are made differentiable by hand.

A loop over short steps costs more for its calls, and for the graph that autograd builds of them, than for its numbers.
In `lstm`, `gru` and `elman` nothing is recorded inside of the loop: gates, states and sums of all steps lie in one
tensor each, the backward loop reads them there, and each weight gets its gradient in one product over all steps.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from normkit.kernels import differentiable, native
from normkit.kernels.dispatch import switched_off
from normkit.kernels.native_norms import LAYER

__all__ = ["Walk", "norm", "norm_backward", "objection", "relu_backward", "sigmoid_backward", "tanh_backward"]

sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
relu_backward = torch.ops.aten.threshold_backward.grad_input
tanh_backward = torch.ops.aten.tanh_backward.grad_input


class Walk(NamedTuple):
    """How to walk: the steps, whether from the last to the first, and ε of the step's norms."""

    steps: int
    reverse: bool
    eps: tuple[float, ...]

    def order(self) -> range:
        """The steps as they follow each other."""
        return range(self.steps - 1, -1, -1) if self.reverse else range(self.steps)

    def before(self, start: Tensor, states: Tensor) -> Tensor:
        """The state before each step, in the order of the rows."""
        rows = len(start)
        return torch.cat([states[rows:], start]) if self.reverse else torch.cat([start, states[:-rows]])

    def joined(self, parts: list[Tensor]) -> Tensor:
        """What the steps gave one after the other, in the order of the rows."""
        return torch.cat(parts[::-1] if self.reverse else parts)


def objection(z: Tensor, *others: Tensor) -> str | None:
    """Why the loop cannot take these tensors; None if it can."""
    if switched_off or native.norm_rows is None or native.norm_rows_backward is None:
        return "the native kernels are not there or switched off"
    if reason := differentiable.objection(z, others, (torch.float32,)):
        return reason
    if torch.is_autocast_enabled("cpu"):
        return "autocast is on, which chooses a type for each operation"
    if any(each.dtype is not torch.float32 or not each.is_contiguous() for each in (z, *others)):
        return "a tensor is not float32 or not contiguous"
    return None


def norm(
    x: Tensor, shape: tuple[int, ...], gain: Tensor, shift: Tensor, eps: float, scales: list[Tensor] | None
) -> Tensor:
    """LN(x); what its backward function wants back goes to `scales`."""
    assert native.norm_rows is not None
    found: Any = native.norm_rows(LAYER, x, shape, gain, shift, eps, 0.0, None, False, scales is not None, None)
    if scales is None:
        assert isinstance(found, Tensor)
        return found
    y, _, scale = found
    scales.append(scale)
    assert isinstance(y, Tensor)
    return y


def norm_backward(x: Tensor, grad: Tensor, gain: Tensor, scales: Tensor, parameters: bool) -> Any:
    """Gradients for x, and for gain and shift where `parameters` asks for them."""
    assert native.norm_rows_backward is not None
    return native.norm_rows_backward(LAYER, x, grad, None, gain, scales, 0.0, parameters, parameters)
