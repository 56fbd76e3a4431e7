"""A recurrent cell with torch's interface around the equation of a step."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from normkit.kernels.arguments import check_float
from normkit.kernels.reference._precision import statistics_dtype
from normkit.nn._recurrence import (
    Recurrence,
    RecurrentInputError,
    State,
    build_norms,
    check_dtype,
    check_norms,
    weights_of,
)

__all__ = ["RecurrentCell"]


class RecurrentCell(nn.RNNCellBase):
    """A `torch.nn.RNNCellBase` that also holds the norms of its `recurrence`."""

    recurrence: ClassVar[Recurrence]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        eps: float,
        layer_norm: bool,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        name = type(self).__name__
        if input_size < 1 or hidden_size < 1:
            raise ValueError(f"{name}: input_size and hidden_size are at least 1, got {input_size} and {hidden_size}")
        check_norms(name, hidden_size, eps, layer_norm)
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        super().__init__(input_size, hidden_size, bias, self.recurrence.gates, **factory)
        self.eps = eps
        self.layer_norm = layer_norm
        if layer_norm:
            build_norms(self, self.recurrence, hidden_size, eps, "", **factory)

    def reset_parameters(self) -> None:
        """Weights and biases uniform in ±1/√hidden_size as torch draws them; gains 1, shifts 0."""
        super().reset_parameters()
        for norm in self.children():
            assert isinstance(norm, nn.LayerNorm)
            norm.reset_parameters()

    def _step(self, input: Tensor, state: State | None) -> State:
        """The next state, in the same number of axes as `input` has."""
        self._check(input, state)
        batched = input.ndim == 2
        x = input if batched else input[None]
        weights = weights_of(self, self.recurrence, "")
        if state is None:
            zeros = x.new_zeros(x.shape[0], self.hidden_size, dtype=self.weight_hh.dtype)
            state = (zeros,) * self.recurrence.states
        elif not batched:
            state = tuple(each[None] for each in state)
        state = tuple(each.to(statistics_dtype(each.dtype)) for each in state)
        after = self.recurrence.step(weights, self.recurrence.project(weights, x), state)
        after = tuple(each.to(self.weight_hh.dtype) for each in after)
        return after if batched else tuple(each[0] for each in after)

    def _check(self, input: Tensor, state: State | None) -> None:
        name = type(self).__name__
        check_float(name, input)
        if input.ndim not in (1, 2):
            raise RecurrentInputError(f"{name}: Expected input to be 1D or 2D, got {input.ndim}D instead")
        if input.shape[-1] != self.input_size:
            raise RecurrentInputError(
                f"{name}: input has inconsistent input_size: got {input.shape[-1]} expected {self.input_size} "
                f"(input {tuple(input.shape)})"
            )
        check_dtype(name, "input", input, self.weight_hh)
        for index, each in enumerate(state or ()):
            check_dtype(name, "hx", each, self.weight_hh)
            self._check_state(input, each, index)

    def _check_state(self, input: Tensor, state: Tensor, index: int) -> None:
        name = type(self).__name__
        if state.ndim != input.ndim:
            raise RecurrentInputError(
                f"{name}: Expected hx[{index}] to be {input.ndim}D like the input, got {state.ndim}D instead"
            )
        if state.shape[-1] != self.hidden_size:
            raise RecurrentInputError(
                f"{name}: hidden{index} has inconsistent hidden_size: got {state.shape[-1]}, "
                f"expected {self.hidden_size}"
            )
        if state.shape[:-1] != input.shape[:-1]:
            raise RecurrentInputError(
                f"{name}: Input batch size {input.shape[0]} doesn't match hidden{index} batch size {state.shape[0]}"
            )

    def extra_repr(self) -> str:
        """Torch's, and what the norms add."""
        return f"{super().extra_repr()}, eps={self.eps}, layer_norm={self.layer_norm}"
