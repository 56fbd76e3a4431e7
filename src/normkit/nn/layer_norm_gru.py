"""The GRU with layer normalisation: what the input and what the state add to a step are normalised apart.

    r, z = σ( LN(W_ih x_t + b_ih) + LN(W_hh h_{t−1}) + b_hh )           one LN over both gates
    n = tanh( LN(W_in x_t + b_in) + r (LN(W_hn h_{t−1}) + b_hn) )
    h_t = (1 − z) n + z h_{t−1}

Source: Ba, Kiros, Hinton 2016, "Layer Normalization", arXiv:1607.06450, section 6 and supplementary equations 17–19.
"""

from typing import overload

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.functional import layer_norm
from torch.nn.utils.rnn import PackedSequence

from normkit.kernels import gru
from normkit.kernels.recurrence import Walk, objection
from normkit.nn._recurrence import Recurrence, State, Weights, by_steps, normed, plain_norm, product
from normkit.nn._recurrent_cell import RecurrentCell
from normkit.nn._recurrent_stack import RecurrentStack, copy_of

__all__ = ["LayerNormGRU", "LayerNormGRUCell"]


def _halves(gates: Tensor) -> tuple[Tensor, Tensor]:
    """The entries of r and z, and those of n."""
    width = gates.shape[-1] // 3
    return gates[..., : 2 * width], gates[..., 2 * width :]


def _project(weights: Weights, x: Tensor) -> Tensor:
    """LN(W_ih x + b_ih) + b_hh for r and z, then LN(W_in x + b_in) for n; b_hn is the step's."""
    gates, candidate = _halves(product(x, weights.weight_ih, weights.bias_ih))
    gates = normed(weights, "ln_ih", gates)
    if weights.bias_hh is not None:
        gates = gates + _halves(weights.bias_hh)[0]
    return torch.cat([gates, normed(weights, "ln_in", candidate)], -1)


def _step(weights: Weights, z: Tensor, state: State) -> State:
    (h,) = state
    gates, candidate = _halves(product(h, weights.weight_hh))
    from_input, candidate_from_input = _halves(z)
    candidate = normed(weights, "ln_hn", candidate)
    if weights.bias_hh is not None:
        candidate = candidate + _halves(weights.bias_hh)[1]
    reset, update = (from_input + normed(weights, "ln_hh", gates)).sigmoid().chunk(2, -1)
    new = (candidate_from_input + reset * candidate).tanh()
    return (new + update * (h - new),)


def _whole(weights: Weights, z: Tensor, steps: int, initial: State, reverse: bool) -> tuple[Tensor, State] | None:
    """All steps in one loop that autograd does not look into, where its kernels can."""
    h = initial[0].contiguous()
    width = h.shape[-1]
    gates, new = plain_norm(weights, "ln_hh", 2 * width), plain_norm(weights, "ln_hn", width)
    if gates is None or new is None:
        return None
    # b_hn stands behind the norm and is added to nothing else: a second shift of it.
    shift_new = new.bias if weights.bias_hh is None else new.bias + weights.bias_hh[2 * width :]
    w, w_new = weights.weight_hh[: 2 * width], weights.weight_hh[2 * width :]
    tensors = (z, h, w, w_new, gates.weight, gates.bias, new.weight, shift_new)
    if objection(*tensors):
        return None

    def formula(z: Tensor, h: Tensor, w: Tensor, w_new: Tensor, *norms: Tensor) -> tuple[Tensor, Tensor]:
        gain, shift, gain_new, shift_new = norms
        again = {
            "ln_hh": lambda x: layer_norm(x, gain.shape, gain, shift, gates.eps),
            "ln_hn": lambda x: layer_norm(x, gain_new.shape, gain_new, shift_new, new.eps),
        }
        weight = torch.cat([w, w_new])
        as_before = Weights(weight, weight, None, None, again)
        output, (h,) = by_steps(GRU, as_before, z, [h.shape[0]] * steps, (h,), reverse)
        return output, h

    output, h = gru.walk(Walk(steps, reverse, (gates.eps, new.eps)), *tensors, formula)
    return output, (h,)


GRU = Recurrence(3, 1, {"ln_ih": 2, "ln_hh": 2, "ln_in": 1, "ln_hn": 1}, _project, _step, _whole)


class LayerNormGRUCell(RecurrentCell):
    """One step of the layer-normalised GRU: (x, h) → h'.

    A `torch.nn.GRUCell` in arguments and in the names `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`, with the norms
    `ln_ih`, `ln_hh` (of both gates, 2·hidden_size wide), `ln_in` and `ln_hn` (of the new state, hidden_size wide).

    Args:
        input_size: I, entries of x.
        hidden_size: H, entries of h; 2 or more with norms.
        bias: whether there are b_ih and b_hh (the norms have their shifts in any case).
        eps: ε of the norms.
        layer_norm: False for torch's cell: the same without norms.
        device, dtype: of the parameters.

    Shape:
        (B, I) or (I,), and h of (B, H) or (H,) → h' like h. Zeros where h is not given.

    Raises:
        ValueError: `eps` < 0, or hidden_size 1 with norms; in the call, a size that does not fit.
        TypeError: in the call, the input is no float tensor.
    """

    recurrence = GRU

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

    def forward(
        self, input: Shaped[Tensor, "*batch input"], hx: Shaped[Tensor, "..."] | None = None
    ) -> Float[Tensor, "*batch hidden"]:
        """The state behind the step."""
        (h,) = self._step(input, None if hx is None else (hx,))
        return h


class LayerNormGRU(RecurrentStack):
    """The layer-normalised GRU over sequences: layers upon each other, in one or two directions.

    A `torch.nn.GRU` in arguments, in what it takes (padded, packed, unbatched) and returns, and in the names of the
    weights; layer k has the norms `ln_ih_l{k}`, `ln_hh_l{k}`, `ln_in_l{k}` and `ln_hn_l{k}` (and those with
    `_reverse`). The input's share of all steps is computed at once.

    Args:
        input_size: I, entries of x.
        hidden_size: H, entries of h; 2 or more with norms.
        num_layers: layers upon each other.
        bias: whether there are b_ih and b_hh (the norms have their shifts in any case).
        batch_first: whether input and output are (B, T, ·); the states are not concerned.
        dropout: share of entries dropped between layers in training.
        bidirectional: whether a second set of weights reads the sequence from its end.
        eps: ε of the norms.
        layer_norm: False for torch's GRU: the same without norms.
        proj_size: 0; the method has no projected state.
        device, dtype: of the parameters.

    Shape:
        (T, B, I), (B, T, I), (T, I) or a PackedSequence → (T, B, D·H) likewise, and h_n of (layers·D, B, H), D the
        number of directions.

    Raises:
        ValueError: `eps` < 0, hidden_size 1 with norms, or a `proj_size`; in the call, a size that does not fit.
        TypeError: in the call, the input is no float tensor.
    """

    recurrence = GRU

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
        super().__init__("GRU", *shape, eps, layer_norm, proj_size, device, dtype)

    @classmethod
    def from_torch(cls, rnn: nn.GRU, *, eps: float = 1e-5, layer_norm: bool = True) -> "LayerNormGRU":
        """A copy of `rnn` with its weights, device, dtype and mode, and with fresh norms.

        Raises:
            TypeError: `rnn` is no `torch.nn.GRU`.
        """
        return copy_of(rnn, nn.GRU, cls, eps=eps, layer_norm=layer_norm)

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
