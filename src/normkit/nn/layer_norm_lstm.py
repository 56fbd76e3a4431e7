"""The LSTM with layer normalisation: every sum of the step, and the cell before its tanh, are normalised.

    i, f, g, o = LN(W_ih x_t + b_ih) + LN(W_hh h_{t−1}) + b_hh      each LN over all four gates at once
    c_t = σ(f) c_{t−1} + σ(i) tanh(g)
    h_t = σ(o) tanh(LN(c_t))                                       the cell that is carried on is c_t, not its norm

Source: Ba, Kiros, Hinton 2016, "Layer Normalization", arXiv:1607.06450, section 6 and supplementary equations 20–22.
"""

from typing import overload

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.functional import layer_norm
from torch.nn.utils.rnn import PackedSequence

from normkit.kernels import lstm
from normkit.kernels.recurrence import Walk, objection
from normkit.nn._recurrence import Recurrence, State, Weights, by_steps, normed, plain_norm, product
from normkit.nn._recurrent_cell import RecurrentCell
from normkit.nn._recurrent_stack import RecurrentStack, copy_of

__all__ = ["LayerNormLSTM", "LayerNormLSTMCell"]

States = tuple[Shaped[Tensor, "..."], Shaped[Tensor, "..."]]


def _project(weights: Weights, x: Tensor) -> Tensor:
    """LN(W_ih x + b_ih) + b_hh."""
    gates = normed(weights, "ln_ih", product(x, weights.weight_ih, weights.bias_ih))
    return gates if weights.bias_hh is None else gates + weights.bias_hh


def _step(weights: Weights, z: Tensor, state: State) -> State:
    h, c = state
    gates = z + normed(weights, "ln_hh", product(h, weights.weight_hh))
    i, f, g, o = gates.chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * normed(weights, "ln_c", c).tanh(), c


def _whole(weights: Weights, z: Tensor, steps: int, initial: State, reverse: bool) -> tuple[Tensor, State] | None:
    """All steps in one loop that autograd does not look into, where its kernels can."""
    h, c = (each.contiguous() for each in initial)
    width = h.shape[-1]
    sums, cells = plain_norm(weights, "ln_hh", 4 * width), plain_norm(weights, "ln_c", width)
    if sums is None or cells is None:
        return None
    tensors = (z, h, c, weights.weight_hh, sums.weight, sums.bias, cells.weight, cells.bias)
    if objection(*tensors):
        return None
    how = Walk(steps, reverse, (sums.eps, cells.eps))

    def formula(z: Tensor, h: Tensor, c: Tensor, weight: Tensor, *norms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        gain, shift, gain_cell, shift_cell = norms
        again = {
            "ln_hh": lambda x: layer_norm(x, gain.shape, gain, shift, sums.eps),
            "ln_c": lambda x: layer_norm(x, gain_cell.shape, gain_cell, shift_cell, cells.eps),
        }
        as_before = Weights(weight, weight, None, None, again)
        output, (h, c) = by_steps(LSTM, as_before, z, [h.shape[0]] * steps, (h, c), reverse)
        return output, h, c

    output, h, c = lstm.walk(how, *tensors, formula)
    return output, (h, c)


LSTM = Recurrence(4, 2, {"ln_ih": 4, "ln_hh": 4, "ln_c": 1}, _project, _step, _whole)


class LayerNormLSTMCell(RecurrentCell):
    """One step of the layer-normalised LSTM: (x, (h, c)) → (h', c').

    A `torch.nn.LSTMCell` in arguments and in the names `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`, with the norms
    `ln_ih` and `ln_hh` (4·hidden_size wide) and `ln_c` (hidden_size wide). Gates in torch's order i, f, g, o.

    Args:
        input_size: I, entries of x.
        hidden_size: H, entries of h and c; 2 or more with norms.
        bias: whether there are b_ih and b_hh (the norms have their shifts in any case).
        eps: ε of the norms.
        layer_norm: False for torch's cell: the same without norms.
        device, dtype: of the parameters.

    Shape:
        (B, I) or (I,), and h, c of (B, H) or (H,) → h', c' like h, c. Zeros where h and c are not given.

    Raises:
        ValueError: `eps` < 0, or hidden_size 1 with norms; in the call, a size that does not fit.
        TypeError: in the call, the input is no float tensor, or `hx` is no pair.
    """

    recurrence = LSTM

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        eps: float = 1e-5,
        layer_norm: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, eps, layer_norm, device, dtype)

    def forward(self, input: Shaped[Tensor, "*batch input"], hx: States | None = None) -> States:
        """The states behind the step."""
        h, c = self._step(input, _pair(self, hx))
        return h, c


class LayerNormLSTM(RecurrentStack):
    """The layer-normalised LSTM over sequences: layers upon each other, in one or two directions.

    A `torch.nn.LSTM` in arguments, in what it takes (padded, packed, unbatched) and returns, and in the names of the
    weights; layer k has the norms `ln_ih_l{k}`, `ln_hh_l{k}` and `ln_c_l{k}` (and those with `_reverse`). The input's
    share of all steps is computed at once; training and evaluation differ in the dropout alone.

    Args:
        input_size: I, entries of x.
        hidden_size: H, entries of h and c; 2 or more with norms.
        num_layers: layers upon each other.
        bias: whether there are b_ih and b_hh (the norms have their shifts in any case).
        batch_first: whether input and output are (B, T, ·); the states are not concerned.
        dropout: share of entries dropped between layers in training.
        bidirectional: whether a second set of weights reads the sequence from its end.
        eps: ε of the norms.
        layer_norm: False for torch's LSTM: the same without norms.
        proj_size: 0; the method has no projected state.
        device, dtype: of the parameters.

    Shape:
        (T, B, I), (B, T, I), (T, I) or a PackedSequence → (T, B, D·H) likewise, and h_n, c_n of (layers·D, B, H), D the
        number of directions.

    Raises:
        ValueError: `eps` < 0, hidden_size 1 with norms, or a `proj_size`; in the call, a size that does not fit.
        TypeError: in the call, the input is no float tensor, or `hx` is no pair.
    """

    recurrence = LSTM

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        eps: float = 1e-5,
        layer_norm: bool = True,
        *,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        shape = (input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional)
        super().__init__("LSTM", *shape, eps, layer_norm, proj_size, device, dtype)

    @classmethod
    def from_torch(cls, rnn: nn.LSTM, *, eps: float = 1e-5, layer_norm: bool = True) -> "LayerNormLSTM":
        """A copy of `rnn` with its weights, device, dtype and mode, and with fresh norms.

        Raises:
            TypeError: `rnn` is no `torch.nn.LSTM`.
            ValueError: it projects its states.
        """
        return copy_of(rnn, nn.LSTM, cls, eps=eps, layer_norm=layer_norm)

    @overload
    def forward(
        self, input: Shaped[Tensor, "*batch time input"], hx: States | None = None
    ) -> tuple[Float[Tensor, "*batch time output"], States]: ...

    @overload
    def forward(self, input: PackedSequence, hx: States | None = None) -> tuple[PackedSequence, States]: ...

    def forward(
        self, input: Tensor | PackedSequence, hx: States | None = None
    ) -> tuple[Tensor | PackedSequence, States]:
        """Output of the last layer at every step, and the last (h, c) of every layer and direction."""
        output, (h, c) = self._run(input, _pair(self, hx))
        return output, (h, c)


def _pair(layer: nn.Module, hx: object) -> State | None:
    """`hx` as states; TypeError unless it is a pair of tensors."""
    if hx is None:
        return None
    if isinstance(hx, (tuple, list)) and len(hx) == 2 and all(isinstance(each, Tensor) for each in hx):
        return tuple(hx)
    raise TypeError(f"{type(layer).__name__}: hx must be a pair of tensors (h_0, c_0), got {type(hx).__name__}")
