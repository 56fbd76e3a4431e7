"""Recurrent layers upon each other, in one or two directions, with torch's interface around the equation of a step."""

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout
from torch.nn.utils.rnn import PackedSequence

from normkit.kernels.arguments import check_float
from normkit.nn._recurrence import (
    Recurrence,
    RecurrentInputError,
    State,
    build_norms,
    check_dtype,
    check_norms,
    scan,
    weights_of,
)

__all__ = ["RecurrentStack", "copy_of"]

Stack = TypeVar("Stack", bound=nn.RNNBase)


class RecurrentStack(nn.RNNBase):
    """A `torch.nn.RNNBase` that also holds the norms of its `recurrence`, one set a layer and direction.

    It is no `torch.nn.LSTM` (GRU, RNN): torch.compile refuses every subclass of those.
    """

    recurrence: ClassVar[Recurrence]

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        eps: float,
        layer_norm: bool,
        proj_size: int,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        name = type(self).__name__
        if proj_size != 0:
            raise ValueError(
                f"{name}: there is no layer norm for a projected state, got proj_size={proj_size}; leave it 0 and put "
                "a torch.nn.Linear behind the layer"
            )
        check_norms(name, hidden_size, eps, layer_norm)
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        super().__init__(
            mode, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, **factory
        )
        self.eps = eps
        self.layer_norm = layer_norm
        for suffix in self._suffixes() if layer_norm else ():
            build_norms(self, self.recurrence, hidden_size, eps, suffix, **factory)

    def _suffixes(self) -> list[str]:
        """How the names of each layer and direction end, in the order of the states."""
        directions = ("", "_reverse") if self.bidirectional else ("",)
        return [f"_l{layer}{direction}" for layer in range(self.num_layers) for direction in directions]

    def flatten_parameters(self) -> None:
        """Nothing: no cuDNN kernel reads these weights, so they need not lie in one block of memory."""

    def reset_parameters(self) -> None:
        """Weights and biases uniform in ±1/√hidden_size as torch draws them; gains 1, shifts 0."""
        super().reset_parameters()
        for norm in self.children():
            assert isinstance(norm, nn.LayerNorm)
            norm.reset_parameters()

    def _run(self, input: Tensor | PackedSequence, hx: State | None) -> tuple[Tensor | PackedSequence, State]:
        """Output and last states, shaped and packed as torch's layers do."""
        if isinstance(input, PackedSequence):
            return self._run_packed(input, hx)
        self._check_input(input, (2, 3))
        axis = 0 if self.batch_first else 1
        batched = input.ndim == 3
        self._check_axes(batched, hx)
        if not batched:
            input, hx = input.unsqueeze(axis), None if hx is None else tuple(each[:, None] for each in hx)
        x = input.transpose(0, 1) if self.batch_first else input
        steps, batch = x.shape[:2]
        if steps == 0:
            raise RecurrentInputError(f"{self._name()}: Expected sequence length to be larger than 0 in RNN")
        output, states = self._layers(x.flatten(0, 1), [batch] * steps, self._initial(x, batch, hx))
        output = output.unflatten(0, (steps, batch))
        output = output.transpose(0, 1) if self.batch_first else output
        return (output, states) if batched else (output.squeeze(axis), tuple(each[:, 0] for each in states))

    def _run_packed(self, input: PackedSequence, hx: State | None) -> tuple[PackedSequence, State]:
        x, batch_sizes, to_sorted, to_unsorted = input
        self._check_input(x, (2,))
        sizes = batch_sizes.tolist()
        states = self._initial(x, sizes[0], hx)
        output, states = self._layers(x, sizes, _permuted(states, to_sorted))
        return PackedSequence(output, batch_sizes, to_sorted, to_unsorted), _permuted(states, to_unsorted)

    def _layers(self, x: Tensor, sizes: list[Any], states: State) -> tuple[Tensor, State]:
        """The rows of the last layer's output, and the last state of every layer and direction."""
        directions = 2 if self.bidirectional else 1
        last: list[State] = []
        suffixes = self._suffixes()
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(directions):
                place = layer * directions + direction
                weights = weights_of(self, self.recurrence, suffixes[place])
                before = tuple(each[place] for each in states)
                output, after = scan(self.recurrence, weights, x, sizes, before, reverse=direction == 1)
                outputs.append(output)
                last.append(after)
            x = outputs[0] if directions == 1 else torch.cat(outputs, -1)
            if self.dropout and layer < self.num_layers - 1:
                x = dropout(x, self.dropout, self.training)
        return x, tuple(torch.stack(each) for each in zip(*last, strict=True))

    def _initial(self, x: Tensor, batch: Any, hx: State | None) -> State:
        """The states given, checked, or zeros."""
        shape = (self.num_layers * (2 if self.bidirectional else 1), batch, self.hidden_size)
        if hx is None:
            return (x.new_zeros(shape, dtype=self._weight().dtype),) * self.recurrence.states
        for index, each in enumerate(hx):
            if tuple(each.shape) != shape:
                which = "hidden size" if len(hx) == 1 else f"hidden[{index}] size"
                raise RecurrentInputError(f"{self._name()}: Expected {which} {shape}, got {list(each.shape)}")
            check_dtype(self._name(), "hx", each, self._weight())
        return hx

    def _check_input(self, input: Tensor, axes: tuple[int, ...]) -> None:
        check_float(self._name(), input)
        if input.ndim not in axes:
            wanted = " or ".join(f"{each}D" for each in axes)
            raise RecurrentInputError(f"{self._name()}: Expected input to be {wanted}, got {input.ndim}D instead")
        if input.shape[-1] != self.input_size:
            raise RecurrentInputError(
                f"{self._name()}: input.size(-1) must be equal to input_size. Expected {self.input_size}, got "
                f"{input.shape[-1]} (input {tuple(input.shape)})"
            )
        check_dtype(self._name(), "input", input, self._weight())

    def _check_axes(self, batched: bool, hx: State | None) -> None:
        wanted, which = (3, "batched 3-D") if batched else (2, "unbatched 2-D")
        if hx is not None and any(each.ndim != wanted for each in hx):
            got = ", ".join(f"{each.ndim}-D" for each in hx)
            subject = "hx" if len(hx) == 1 else "hx and cx"
            raise RecurrentInputError(
                f"{self._name()}: For {which} input, {subject} should also be {wanted}-D but got ({got}) tensors"
            )

    def _weight(self) -> Tensor:
        return cast(Tensor, self.weight_hh_l0)

    def _name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """Torch's, and what the norms add."""
        return f"{super().extra_repr()}, eps={self.eps}, layer_norm={self.layer_norm}"


def copy_of(rnn: nn.RNNBase, twin: type[nn.RNNBase], make: Callable[..., Stack], **options: Any) -> Stack:
    """What `make` builds from the arguments of torch's `rnn`, with its weights, device, dtype and mode.

    Raises:
        TypeError: `rnn` is no `twin`.
        ValueError: its weights are parametrized.
    """
    if not isinstance(rnn, twin):
        raise TypeError(f"from_torch takes a torch.nn.{twin.__name__}, got {type(rnn).__name__}")
    names = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional", "proj_size")
    weight = next(rnn.parameters())
    factory = {"device": weight.device, "dtype": weight.dtype}
    layer = make(**{name: getattr(rnn, name) for name in names}, **options, **factory)
    missing, unexpected = layer.load_state_dict(rnn.state_dict(), strict=False)
    wrong = [*unexpected, *(name for name in missing if not name.startswith("ln_"))]
    if wrong:
        raise ValueError(
            f"from_torch: the weights are kept under other names, {', '.join(wrong)}; remove the parametrization first "
            "(torch.nn.utils.parametrize.remove_parametrizations)"
        )
    return layer.train(rnn.training)


def _permuted(states: State, order: Tensor | None) -> State:
    """The sequences of each state in that order."""
    return states if order is None else tuple(each.index_select(1, order) for each in states)
