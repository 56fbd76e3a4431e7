"""A layer-normalised LSTM over a sequence, against the loop that users write and against the cost of torch's LSTM.

Shape (steps, batch, width): the time of a row over the number of steps is the time of one step. torch's LSTM computes
another function, without norms; it is there for what the norms and a loop outside of C++ cost.
"""

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import layer_norm, linear

from normkit.benchmarks._harness.bar import Bar
from normkit.benchmarks._harness.suite import Inputs, Peer, Suite
from normkit.nn import LayerNormLSTM

__all__ = ["suite"]

_EPS = 1e-5
_WEIGHTS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
_NORMS = tuple(f"{norm}_l0.{name}" for norm in ("ln_ih", "ln_hh", "ln_c") for name in ("weight", "bias"))


def _inputs(shape: tuple[int, ...], generator: torch.Generator) -> Inputs:
    """The sequence, the four weights as torch draws them, and gains and shifts of the three norms.

    Gains around ½: with 1 such a recurrence enlarges a rounding error a thousandfold within 64 steps, whoever computes
    it, and float32 could not be compared with float64.
    """
    width = shape[-1]

    def uniform(*size: int) -> Tensor:
        return (2 * torch.rand(size, generator=generator) - 1) * width**-0.5

    weights = (uniform(4 * width, width), uniform(4 * width, width), uniform(4 * width), uniform(4 * width))
    norms = [
        tensor
        for entries in (4 * width, 4 * width, width)
        for tensor in (
            0.5 + 0.1 * torch.randn(entries, generator=generator),
            0.1 * torch.randn(entries, generator=generator),
        )
    ]
    return (torch.randn(shape, generator=generator), *weights, *norms)


@lru_cache(maxsize=4)
def _layer(*parameters: Tensor) -> LayerNormLSTM:
    """A layer that computes with these very tensors, so that gradients can be asked for."""
    width = parameters[1].shape[1]
    layer = LayerNormLSTM(width, width)
    for path, tensor in zip((*_WEIGHTS, *_NORMS), parameters, strict=True):
        owner, _, name = path.rpartition(".")
        module = layer.get_submodule(owner)
        delattr(module, name)
        setattr(module, name, tensor)
    return layer


def _ours(x: Float[Tensor, "time batch width"], *parameters: Tensor) -> Float[Tensor, "time batch width"]:
    output, _ = _layer(*parameters)(x)
    assert isinstance(output, Tensor)
    return output


def _torch(x: Float[Tensor, "time batch width"], *parameters: Tensor) -> Float[Tensor, "time batch width"]:
    # The norms' parameters enter with weight 0, so that the same gradients can be asked for.
    unused = torch.cat([parameter.view(-1) for parameter in parameters[4:]]).sum() * 0.0
    zeros = x.new_zeros(1, *x.shape[1:])
    output, _, _ = torch.lstm(x, (zeros, zeros), parameters[:4], True, 1, 0.0, True, False, False)
    return output + unused


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


def _long(shape: tuple[int, ...]) -> bool:
    """Whether there are enough steps that what is done once, checks and the choice of a loop, does not count."""
    return shape[0] >= 32


suite = Suite(
    op="layer_norm_lstm",
    family="recurrent",
    public=_ours,
    reference=_loop,
    peers=(Peer("loop", _loop), Peer("torch.nn.LSTM", _torch, same=False)),
    inputs=_inputs,
    shapes=((32, 32, 32), (64, 32, 128)),
    user_shapes=((32, 32, 32), (64, 32, 128), (32, 64, 512)),
    quick_shapes=((8, 4, 16),),
    most_gradient_ulp=4096.0,  # sums over all steps of a recurrence in float32 against float64
    bytes_forward=None,
    bytes_backward=None,
    bars=tuple(Bar(1.0, to="loop", mode=mode, parallel=None, where=_long) for mode in ("fwd", "fwd+bwd")),
)
