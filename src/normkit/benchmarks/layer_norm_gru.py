"""A layer-normalised GRU over a sequence, against the loop that users write and against the cost of torch's GRU.

Shape (steps, batch, width): the time of a row over the number of steps is the time of one step. torch's GRU computes
another function, without norms.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import layer_norm, linear

from normkit.benchmarks._harness.bar import Bar
from normkit.benchmarks._harness.recurrent import inputs_of, layer_of, long, unused
from normkit.benchmarks._harness.suite import Peer, Suite
from normkit.nn import LayerNormGRU

__all__ = ["suite"]

_EPS = 1e-5


def _ours(x: Float[Tensor, "time batch width"], *parameters: Tensor) -> Float[Tensor, "time batch width"]:
    output, _ = layer_of(LayerNormGRU, ("ln_ih", "ln_hh", "ln_in", "ln_hn"), *parameters)(x)
    assert isinstance(output, Tensor)
    return output


def _torch(x: Float[Tensor, "time batch width"], *parameters: Tensor) -> Float[Tensor, "time batch width"]:
    output, _ = torch.gru(x, x.new_zeros(1, *x.shape[1:]), parameters[:4], True, 1, 0.0, True, False, False)
    return output + unused(parameters[4:])


def _norm(x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    return layer_norm(x, gain.shape, gain, shift, _EPS)


def _loop(x: Float[Tensor, "time batch width"], *parameters: Tensor) -> Float[Tensor, "time batch width"]:
    """A cell in plain torch, called step by step: what replaces `torch.nn.GRUCell` in most users' own code."""
    w_ih, w_hh, b_ih, b_hh, *norms = parameters
    of_x, of_h, of_x_new, of_h_new = zip(norms[::2], norms[1::2], strict=True)
    width = x.shape[-1]
    parts = (2 * width, width)
    b_gates, b_new = b_hh.split(parts)
    h = x.new_zeros(x.shape[1:])
    outputs = []
    for step in x:
        x_gates, x_new = linear(step, w_ih, b_ih).split(parts, 1)
        h_gates, h_new = linear(h, w_hh).split(parts, 1)
        r, z = torch.sigmoid(_norm(x_gates, *of_x) + _norm(h_gates, *of_h) + b_gates).chunk(2, 1)
        n = torch.tanh(_norm(x_new, *of_x_new) + r * (_norm(h_new, *of_h_new) + b_new))
        h = (1 - z) * n + z * h
        outputs.append(h)
    return torch.stack(outputs)


suite = Suite(
    op="layer_norm_gru",
    family="recurrent",
    public=_ours,
    reference=_loop,
    peers=(Peer("loop", _loop), Peer("torch.nn.GRU", _torch, same=False)),
    inputs=inputs_of(3, (2, 2, 1, 1)),
    shapes=((32, 32, 32), (64, 32, 128)),
    user_shapes=((32, 32, 32), (64, 32, 128), (32, 64, 512)),
    quick_shapes=((8, 4, 16),),
    most_gradient_ulp=4096.0,  # sums over all steps of a recurrence in float32 against float64
    bytes_forward=None,
    bytes_backward=None,
    bars=tuple(Bar(1.0, to="loop", mode=mode, parallel=None, where=long) for mode in ("fwd", "fwd+bwd")),
)
