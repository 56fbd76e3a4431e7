"""A layer-normalised LSTM over a sequence, against the loop that users write and against the cost of torch's LSTM.

Shape (steps, batch, width): the time of a row over the number of steps is the time of one step. torch's LSTM computes
another function, without norms; it is there for what the norms and a loop outside of C++ cost.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import layer_norm, linear

from normkit.benchmarks._harness.bar import Bar
from normkit.benchmarks._harness.recurrent import inputs_of, layer_of, long, unused
from normkit.benchmarks._harness.suite import Peer, Suite
from normkit.nn import LayerNormLSTM

__all__ = ["suite"]

_EPS = 1e-5


def _ours(x: Float[Tensor, "time batch width"], *parameters: Tensor) -> Float[Tensor, "time batch width"]:
    output, _ = layer_of(LayerNormLSTM, ("ln_ih", "ln_hh", "ln_c"), *parameters)(x)
    assert isinstance(output, Tensor)
    return output


def _torch(x: Float[Tensor, "time batch width"], *parameters: Tensor) -> Float[Tensor, "time batch width"]:
    zeros = x.new_zeros(1, *x.shape[1:])
    output, _, _ = torch.lstm(x, (zeros, zeros), parameters[:4], True, 1, 0.0, True, False, False)
    return output + unused(parameters[4:])


def _loop(x: Float[Tensor, "time batch width"], *parameters: Tensor) -> Float[Tensor, "time batch width"]:
    """A cell in plain torch, called step by step: what replaces `torch.nn.LSTMCell` in most users' own code."""
    w_ih, w_hh, b_ih, b_hh, gain_x, shift_x, gain_h, shift_h, gain_c, shift_c = parameters
    h = c = x.new_zeros(x.shape[1:])
    outputs = []
    for step in x:
        from_x = layer_norm(linear(step, w_ih, b_ih), gain_x.shape, gain_x, shift_x, _EPS)
        from_h = layer_norm(linear(h, w_hh), gain_h.shape, gain_h, shift_h, _EPS)
        i, f, g, o = (from_x + from_h + b_hh).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(layer_norm(c, gain_c.shape, gain_c, shift_c, _EPS))
        outputs.append(h)
    return torch.stack(outputs)


suite = Suite(
    op="layer_norm_lstm",
    family="recurrent",
    public=_ours,
    reference=_loop,
    peers=(Peer("loop", _loop), Peer("torch.nn.LSTM", _torch, same=False)),
    inputs=inputs_of(4, (4, 4, 1)),
    shapes=((32, 32, 32), (64, 32, 128)),
    user_shapes=((32, 32, 32), (64, 32, 128), (32, 64, 512)),
    quick_shapes=((8, 4, 16),),
    most_gradient_ulp=4096.0,  # sums over all steps of a recurrence in float32 against float64
    bytes_forward=None,
    bytes_backward=None,
    bars=tuple(Bar(1.0, to="loop", mode=mode, parallel=None, where=long) for mode in ("fwd", "fwd+bwd")),
)
