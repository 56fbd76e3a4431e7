"""A layer-normalised Elman network over a sequence, against the loop that users write and the cost of torch's RNN.

Shape (steps, batch, width): the time of a row over the number of steps is the time of one step. torch's RNN computes
another function, without norms.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import layer_norm, linear

from normkit.benchmarks._harness.bar import Bar
from normkit.benchmarks._harness.recurrent import inputs_of, layer_of, long, unused
from normkit.benchmarks._harness.suite import Peer, Suite
from normkit.nn import LayerNormRNN

__all__ = ["suite"]

_EPS = 1e-5


def _ours(x: Float[Tensor, "time batch width"], *parameters: Tensor) -> Float[Tensor, "time batch width"]:
    output, _ = layer_of(LayerNormRNN, ("ln",), *parameters)(x)
    assert isinstance(output, Tensor)
    return output


def _torch(x: Float[Tensor, "time batch width"], *parameters: Tensor) -> Float[Tensor, "time batch width"]:
    output, _ = torch.rnn_tanh(x, x.new_zeros(1, *x.shape[1:]), parameters[:4], True, 1, 0.0, True, False, False)
    return output + unused(parameters[4:])


def _loop(x: Float[Tensor, "time batch width"], *parameters: Tensor) -> Float[Tensor, "time batch width"]:
    """A cell in plain torch, called step by step: what replaces `torch.nn.RNNCell` in most users' own code."""
    w_ih, w_hh, b_ih, b_hh, gain, shift = parameters
    h = x.new_zeros(x.shape[1:])
    outputs = []
    for step in x:
        h = torch.tanh(layer_norm(linear(step, w_ih, b_ih) + linear(h, w_hh, b_hh), gain.shape, gain, shift, _EPS))
        outputs.append(h)
    return torch.stack(outputs)


suite = Suite(
    op="layer_norm_rnn",
    family="recurrent",
    public=_ours,
    reference=_loop,
    peers=(Peer("loop", _loop), Peer("torch.nn.RNN", _torch, same=False)),
    inputs=inputs_of(1, (1,)),
    shapes=((32, 32, 32), (64, 32, 128)),
    user_shapes=((32, 32, 32), (64, 32, 128), (32, 64, 512)),
    quick_shapes=((8, 4, 16),),
    most_gradient_ulp=4096.0,  # sums over all steps of a recurrence in float32 against float64
    bytes_forward=None,
    bytes_backward=None,
    bars=tuple(Bar(1.0, to="loop", mode=mode, parallel=None, where=long) for mode in ("fwd", "fwd+bwd")),
)
