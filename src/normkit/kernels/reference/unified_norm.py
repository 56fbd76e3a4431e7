"""Unified normalisation in plain torch: by a smoothed quadratic mean of each channel, with an approximate gradient.

Yang et al. 2022 (arXiv:2208.01313), section 3; the steps are those of the authors' code. What touches all of x is here:
`mean_square`, `scaled` and the sums of `gradients`. What touches the channels alone is in `unified_statistics`.
"""

from collections.abc import Callable
from typing import Any, no_type_check

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from normkit.kernels.reference._precision import statistics_dtype
from normkit.kernels.reference.unified_statistics import Channels, Step, advance, smoothed_gradient

__all__ = ["OverRanks", "gradients", "mean_square", "scaled", "unified_norm"]

OverRanks = Callable[[Tensor, Tensor], Tensor]
"""Sum (C) and count of this process → the mean over all processes."""


def unified_norm(
    input: Float[Tensor, "*batch channels"],
    weight: Channels,
    bias: Channels,
    running_var: Channels,
    ema_gz: Channels | None = None,
    buffer_x2: Float[Tensor, "window channels"] | None = None,
    buffer_gz: Float[Tensor, "window_backward channels"] | None = None,
    iters: Int[Tensor, ""] | None = None,
    skip_counter: Int[Tensor, ""] | None = None,
    pad_mask: Bool[Tensor, "*batch"] | None = None,
    training: bool = False,
    momentum: float = 0.9,
    warmup_iters: int = 4000,
    outlier_filtration: bool = False,
    eps: float = 1e-5,
    over_ranks: OverRanks | None = None,
) -> Float[Tensor, "*batch channels"]:
    """y = γ x / sqrt(σ² + ε) + β; σ² the smoothed statistic in training, which moves the state, else `running_var`."""
    if not training:
        return scaled(input, (running_var + eps).rsqrt(), weight, bias)
    assert ema_gz is not None
    assert buffer_x2 is not None
    assert buffer_gz is not None
    assert iters is not None
    assert skip_counter is not None
    average = _alone if over_ranks is None else over_ranks
    with torch.no_grad():
        square = mean_square(input.detach(), pad_mask, average)
        step = advance(
            square, running_var, buffer_x2, iters, skip_counter, momentum, warmup_iters, outlier_filtration, eps
        )
    return _UnifiedNorm.apply(input, weight, bias, *step, ema_gz, buffer_gz, momentum, warmup_iters, average)


class _UnifiedNorm(torch.autograd.Function):
    """The step's scale and shift forwards; backwards the authors' approximation, which moves the gradient's state."""

    @staticmethod
    @no_type_check
    def forward(
        input: Tensor,
        weight: Tensor,
        bias: Tensor,
        rstd: Tensor,
        ratio: Tensor,
        number: Tensor,
        skip: Tensor,
        ema_gz: Tensor,
        buffer_gz: Tensor,
        momentum: float,
        warmup_iters: int,
        average: OverRanks,
    ) -> Tensor:
        return scaled(input, rstd, weight, bias)

    @staticmethod
    @no_type_check
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:7])
        # Not saved: two forward passes may precede their backward passes, and each of these moves the state.
        ctx.ema_gz, ctx.buffer_gz, *ctx.options = inputs[7:]

    @staticmethod
    @no_type_check
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        input, weight, _, *step = ctx.saved_tensors
        found = gradients(input, gradient, weight, Step(*step), ctx.ema_gz, ctx.buffer_gz, *ctx.options)
        return *found, *(None for _ in range(9))


def scaled(input: Tensor, rstd: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Y = γ x · rstd + β, computed in float32 or wider."""
    x = input.to(statistics_dtype(input.dtype))
    return (x * rstd * weight + bias).to(input.dtype)


def mean_square(input: Tensor, pad_mask: Tensor | None, average: OverRanks) -> Tensor:
    """S, the mean of x² over the positions that are no padding; NaN where it overflows.

    An infinite statistic would turn every finite value into a silent 0.
    """
    x = input.to(statistics_dtype(input.dtype))
    if pad_mask is None:
        count = torch.full((), x[..., 0].numel(), dtype=x.dtype, device=x.device)
    else:
        x = x.masked_fill(pad_mask.unsqueeze(-1), 0)
        count = (~pad_mask).sum().to(x.dtype)
    square = average(_over_positions(x.square()), count)
    return square + (square - square)


def gradients(
    input: Tensor,
    gradient: Tensor,
    weight: Tensor,
    step: Step,
    ema_gz: Tensor,
    buffer_gz: Tensor,
    momentum: float,
    warmup_iters: int,
    average: OverRanks,
) -> tuple[Tensor, Tensor, Tensor]:
    """∂x = (γ r ∂y − e z)/sqrt(σ² + ε), ∂γ = Σ ∂y r z, ∂β = Σ ∂y, z the normalised input; moves e and its window."""
    x, gy = (each.to(statistics_dtype(input.dtype)) for each in (input, gradient))
    z = x * step.rstd
    along = _over_positions(gy * z)
    count = torch.full((), x[..., 0].numel(), dtype=x.dtype, device=x.device)
    gain = weight * step.ratio
    pull = smoothed_gradient(gain * average(along, count), step, ema_gz, buffer_gz, momentum, warmup_iters)
    grad_x = (gy * gain - z * pull) * step.rstd
    grad_weight, grad_bias = along * step.ratio, _over_positions(gy)
    return grad_x.to(input.dtype), grad_weight.to(weight.dtype), grad_bias.to(weight.dtype)


def _over_positions(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1]).sum(0)


def _alone(total: Tensor, count: Tensor) -> Tensor:
    return total / count
