"""The Elman network with layer normalisation: one norm of the whole sum, before the non-linearity.

    h_t = φ( LN(W_ih x_t + b_ih + W_hh h_{t−1} + b_hh) ),   φ = tanh or ReLU

Source: Ba, Kiros, Hinton 2016, "Layer Normalization", arXiv:1607.06450, section 3.1, equation 4.
"""

from dataclasses import replace
from functools import partial
from typing import overload

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.functional import layer_norm
from torch.nn.utils.rnn import PackedSequence

from normkit.kernels import elman
from normkit.kernels.recurrence import Walk, objection
from normkit.nn._recurrence import Recurrence, State, Weights, by_steps, normed, plain_norm, product
from normkit.nn._recurrent_cell import RecurrentCell
from normkit.nn._recurrent_stack import RecurrentStack, copy_of

__all__ = ["LayerNormRNN", "LayerNormRNNCell"]


def _project(weights: Weights, x: Tensor) -> Tensor:
    """W_ih x + b_ih + b_hh; the norm is of the sum with the state's share, so it is the step's."""
    summed = product(x, weights.weight_ih, weights.bias_ih)
    return summed if weights.bias_hh is None else summed + weights.bias_hh


def _tanh_step(weights: Weights, z: Tensor, state: State) -> State:
    return (normed(weights, "ln", z + product(state[0], weights.weight_hh)).tanh(),)


def _relu_step(weights: Weights, z: Tensor, state: State) -> State:
    return (normed(weights, "ln", z + product(state[0], weights.weight_hh)).relu(),)


def _whole(
    weights: Weights, z: Tensor, steps: int, initial: State, reverse: bool, *, relu: bool
) -> tuple[Tensor, State] | None:
    """All steps in one loop that autograd does not look into, where its kernels can."""
    h = initial[0].contiguous()
    norm = plain_norm(weights, "ln", h.shape[-1])
    if norm is None:
        return None
    tensors = (z, h, weights.weight_hh, norm.weight, norm.bias)
    if objection(*tensors):
        return None

    def formula(z: Tensor, h: Tensor, weight: Tensor, gain: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        again = {"ln": lambda x: layer_norm(x, gain.shape, gain, shift, norm.eps)}
        as_before = Weights(weight, weight, None, None, again)
        output, (h,) = by_steps(RELU if relu else TANH, as_before, z, [h.shape[0]] * steps, (h,), reverse)
        return output, h

    output, h = elman.walk(Walk(steps, reverse, (norm.eps,)), relu, *tensors, formula)
    return output, (h,)


TANH = Recurrence(1, 1, {"ln": 1}, _project, _tanh_step, partial(_whole, relu=False))
RELU = replace(TANH, step=_relu_step, whole=partial(_whole, relu=True))


def _recurrence(name: str, nonlinearity: str) -> Recurrence:
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"{name}: Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
    return TANH if nonlinearity == "tanh" else RELU


class LayerNormRNNCell(RecurrentCell):
    """One step of the layer-normalised Elman network: (x, h) → h'.

    A `torch.nn.RNNCell` in arguments and in the names `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`, with the norm
    `ln` (hidden_size wide).

    Args:
        input_size: I, entries of x.
        hidden_size: H, entries of h; 2 or more with the norm.
        bias: whether there are b_ih and b_hh (the norm has its shift in any case).
        eps: ε of the norm.
        layer_norm: False for torch's cell: the same without the norm.
        nonlinearity: φ, "tanh" or "relu".
        device, dtype: of the parameters.

    Shape:
        (B, I) or (I,), and h of (B, H) or (H,) → h' like h. Zeros where h is not given.

    Raises:
        ValueError: `eps` < 0, hidden_size 1 with the norm, or another `nonlinearity`; in the call, a size that does not
            fit.
        TypeError: in the call, the input is no float tensor.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        eps: float = 1e-5,
        layer_norm: bool = True,
        *,
        nonlinearity: str = "tanh",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.recurrence = _recurrence(type(self).__name__, nonlinearity)
        super().__init__(input_size, hidden_size, bias, eps, layer_norm, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(
        self, input: Shaped[Tensor, "*batch input"], hx: Shaped[Tensor, "..."] | None = None
    ) -> Float[Tensor, "*batch hidden"]:
        """The state behind the step."""
        (h,) = self._step(input, None if hx is None else (hx,))
        return h


class LayerNormRNN(RecurrentStack):
    """The layer-normalised Elman network over sequences: layers upon each other, in one or two directions.

    A `torch.nn.RNN` in what it takes (padded, packed, unbatched) and returns, and in the names of the weights; layer k
    has the norm `ln_l{k}` (and one with `_reverse`). In torch `nonlinearity` is the fourth argument by position; here,
    so that the three layers agree, it goes by its name alone.

    Args:
        input_size: I, entries of x.
        hidden_size: H, entries of h; 2 or more with norms.
        num_layers: layers upon each other.
        bias: whether there are b_ih and b_hh (the norms have their shifts in any case).
        batch_first: whether input and output are (B, T, ·); the states are not concerned.
        dropout: share of entries dropped between layers in training.
        bidirectional: whether a second set of weights reads the sequence from its end.
        eps: ε of the norms.
        layer_norm: False for torch's RNN: the same without norms.
        nonlinearity: φ, "tanh" or "relu".
        proj_size: 0; the method has no projected state.
        device, dtype: of the parameters.

    Shape:
        (T, B, I), (B, T, I), (T, I) or a PackedSequence → (T, B, D·H) likewise, and h_n of (layers·D, B, H), D the
        number of directions.

    Raises:
        ValueError: `eps` < 0, hidden_size 1 with norms, another `nonlinearity` or a `proj_size`; in the call, a size
            that does not fit.
        TypeError: in the call, the input is no float tensor.
    """

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
        nonlinearity: str = "tanh",
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.recurrence = _recurrence(type(self).__name__, nonlinearity)
        shape = (input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional)
        super().__init__(f"RNN_{nonlinearity.upper()}", *shape, eps, layer_norm, proj_size, device, dtype)
        self.nonlinearity = nonlinearity

    @classmethod
    def from_torch(cls, rnn: nn.RNN, *, eps: float = 1e-5, layer_norm: bool = True) -> "LayerNormRNN":
        """A copy of `rnn` with its weights, non-linearity, device, dtype and mode, and with fresh norms.

        Raises:
            TypeError: `rnn` is no `torch.nn.RNN`.
        """
        nonlinearity = getattr(rnn, "nonlinearity", "tanh")
        return copy_of(rnn, nn.RNN, cls, eps=eps, layer_norm=layer_norm, nonlinearity=nonlinearity)

    @overload
    def forward(
        self, input: Shaped[Tensor, "*batch time input"], hx: Shaped[Tensor, "..."] | None = None
    ) -> tuple[Float[Tensor, "*batch time output"], Float[Tensor, "..."]]: ...

    @overload
    def forward(
        self, input: PackedSequence, hx: Shaped[Tensor, "..."] | None = None
    ) -> tuple[PackedSequence, Float[Tensor, "..."]]: ...

    def forward(
        self, input: Tensor | PackedSequence, hx: Tensor | None = None
    ) -> tuple[Tensor | PackedSequence, Tensor]:
        """Output of the last layer at every step, and the last h of every layer and direction."""
        output, (h,) = self._run(input, None if hx is None else (hx,))
        return output, h
