"""PN's training step where native code moves its statistics too, on a CPU and without other ranks.

    forward     y  = u · γ/sqrt(d + ε) + β           d = φ, or ψ² in the warm-up; φ moves towards ψ² = mean u²
    backward    gu = gy · γ/sqrt(s + ε) − u · (1 − α_b) e/sqrt((d + ε)(s + ε))         s = ψ² or d; e moves

The passes over u are the column kernels'; what is about the channels alone takes some thirty operations of torch, each
of which is slower than its few numbers: here it is two calls each way. Native code: `native/core/columns/power_step`.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.autograd.graph import increment_version

from normkit.kernels import differentiable, native, native_columns
from normkit.kernels.reference import power_norm as reference

if native.AVAILABLE:
    from normkit import _native

__all__ = ["trained"]

Channels = Float32[Tensor, " channels"]


class _Step(NamedTuple):
    """What the forward pass leaves to the backward pass, beside x and γ."""

    rows: Tensor  # d, ψ² and the gain, (3, channels)
    scale_row: int  # which of the first two the gradient is divided by
    scales: Tensor | None
    squares: Tensor
    running_gz: Tensor
    share: float
    eps: float


def trained(
    input: Float[Tensor, "*batch channels"],
    weight: Float[Tensor, " channels"] | None,
    bias: Float[Tensor, " channels"] | None,
    running_phi: Channels,
    running_gz: Channels,
    iters: Int[Tensor, ""],
    alpha_fwd: float,
    alpha_bwd: float,
    warmup_iters: int,
    group_num: int,
    eps: float,
    backward_scale: str,
    pad_mask: Bool[Tensor, "*batch"] | None,
) -> Float[Tensor, "*batch channels"]:
    """One step: y, with φ, e and the step's number moved in place. The state is float32 and contiguous."""
    x, channels = input.detach(), input.shape[-1]
    number = int(iters.add_(1))
    count = _positions(x) if pad_mask is None else int(pad_mask.logical_not().sum())
    rows = torch.empty(3, channels, dtype=torch.float32, device="cpu")
    divisor, psi, gain = _addresses(rows)
    gamma = _floats(weight)

    def scaled_by(address: int) -> None:
        _native.power_gain(channels, _address(gamma), eps, address, gain)

    def advance(squares: Tensor) -> None:
        # The warm-up's mean of all steps is step k's part of it: 1/k.
        sums, phi = squares.data_ptr(), running_phi.data_ptr()
        _native.power_advance(channels, number, warmup_iters, alpha_fwd, sums, count, phi, psi)

    given: dict[str, Any] = {"groups": group_num, "eps": eps}
    if number > warmup_iters:
        rows[0].copy_(running_phi)
        scaled_by(divisor)
        y, scales, squares = native_columns.forward(x, rows[2], bias, left_out=pad_mask, summed=True, **given)
        assert squares is not None
        advance(squares)
    else:
        _, scales, squares = native_columns.forward(x, left_out=pad_mask, summed=True, **given)
        assert squares is not None
        advance(squares)
        scaled_by(psi)
        rows[0].copy_(rows[1])
        y, _, _ = native_columns.forward(x, rows[2], bias, scales=scales, **given)
    increment_version(running_phi)
    assert y is not None
    if not differentiable.recorded(input, weight, bias):
        return y
    total = squares[0] if pad_mask is None else squares.sum(0)
    step = _Step(rows, int(backward_scale == "batch"), scales, total, running_gz, 1 - alpha_bwd, eps)
    return differentiable.apply(_Trained, input, weight, bias, (y, step))


class _Trained(torch.autograd.Function):
    """A training step enters the graph; its backward pass moves e in place."""

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, weight: Tensor | None, bias: Tensor | None, found: tuple[Tensor, _Step]
    ) -> Tensor:
        # The step is no saved tensor: a checkpoint that computes the call again must not bring that of another step.
        y, ctx.step = found
        ctx.save_for_backward(input, weight)
        ctx.bias_dtype = None if bias is None else bias.dtype
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        input, weight = ctx.saved_tensors
        step: _Step = ctx.step
        if not native_columns.takes(gradient):  # many gradients at once
            groups = 0 if step.scales is None else step.scales.shape[-1]
            left = (step.rows[0], step.rows[step.scale_row], step.running_gz, 1 - step.share, groups, step.eps, None)
            return *reference.backward(gradient, input, weight, ctx.bias_dtype, *left), None
        channels, gamma = input.shape[-1], _floats(weight)
        found = torch.empty(4, channels, dtype=torch.float32, device="cpu")
        of_dy, of_u, for_weight, for_bias = found
        addresses, rows = _addresses(found), _addresses(step.rows)
        layer = (channels, _address(gamma), step.eps)
        given = (*layer, rows[0], rows[step.scale_row], step.running_gz.data_ptr(), step.share)
        _native.power_pull(*given, *addresses[:2])
        dx, sums = native_columns.backward(input, gradient, of_dy, of_u, scales=step.scales, summed=True)
        assert sums is not None
        along, alone = _addresses(sums)
        squares = step.squares.data_ptr()
        _native.power_gradients(*given, along, alone, squares, _positions(input), *addresses[2:])
        increment_version(step.running_gz)
        gweight = None if weight is None else for_weight.to(weight.dtype)
        return dx, gweight, None if ctx.bias_dtype is None else for_bias.to(ctx.bias_dtype), None


def _positions(x: Tensor) -> int:
    return x.shape[:-1].numel()


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _addresses(rows: Tensor) -> tuple[int, ...]:
    """Where each row of a dense tensor begins."""
    start, width = rows.data_ptr(), rows.shape[-1] * rows.element_size()
    return tuple(range(start, start + len(rows) * width, width))


def _floats(numbers: Tensor | None) -> Tensor | None:
    return None if numbers is None else numbers.detach().to(torch.float32).contiguous()
