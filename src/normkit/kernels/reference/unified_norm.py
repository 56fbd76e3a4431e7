"""Unified normalisation in plain torch: by a smoothed quadratic mean of each channel, with an approximate gradient.

Yang et al. 2022 (arXiv:2208.01313), section 3; the steps are those of the authors' code. What touches all of x are
the four functions of `Passes`, for which a kernel can bring its own. What touches the channels alone is in
`unified_statistics`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from normkit.kernels import differentiable
from normkit.kernels.dispatch import tracing
from normkit.kernels.reference._precision import statistics_dtype
from normkit.kernels.reference.means import Reduce, mean, or_nan, over_positions
from normkit.kernels.reference.unified_statistics import Channels, Step, advance, smoothed_gradient

__all__ = ["TORCH", "Passes", "gradients", "unified_norm"]


class Passes(NamedTuple):
    """The passes over all of x that a step consists of; statistics in float32 or wider, results in x's type.

    Attributes:
        squares: (x, pad_mask) → Σ x² of each channel over the positions that are no padding.
        scaled: (x, scale, shift) → x · scale + shift.
        along: (x, ∂y) → Σ ∂y x and Σ ∂y of each channel.
        gradient: (x, ∂y, of ∂y, of x) → ∂y · of_∂y − x · of_x.
    """

    squares: Callable[[Tensor, Tensor | None], Tensor]
    scaled: Callable[[Tensor, Tensor, Tensor], Tensor]
    along: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    gradient: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


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
    reduce: Reduce | None = None,
    *,
    passes: Passes | None = None,
) -> Float[Tensor, "*batch channels"]:
    """y = γ x / sqrt(σ² + ε) + β; σ² the smoothed statistic in training, which moves the state, else `running_var`."""
    passes = passes or TORCH
    if not training or (input.numel() == 0 and reduce is None):
        return passes.scaled(input, (running_var.to(statistics_dtype(running_var.dtype)) + eps).rsqrt() * weight, bias)
    assert ema_gz is not None
    assert buffer_x2 is not None
    assert buffer_gz is not None
    assert iters is not None
    assert skip_counter is not None
    with torch.no_grad():
        square = _mean_square(passes, input.detach(), pad_mask, reduce)
        step = advance(
            square, running_var, buffer_x2, iters, skip_counter, momentum, warmup_iters, outlier_filtration, eps
        )
    given = (input, weight, bias, *step, ema_gz, buffer_gz, momentum, warmup_iters, reduce, passes)
    return _UnifiedNorm.apply(*given) if tracing() else differentiable.apply(_UnifiedNorm, *given)


class _UnifiedNorm(torch.autograd.Function):
    """The step's scale and shift forwards; backwards the authors' approximation, which moves the gradient's state."""

    @staticmethod
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
        reduce: Reduce | None,
        passes: Passes,
    ) -> Tensor:
        return passes.scaled(input, rstd * weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        step = inputs[3:7]
        if tracing():
            ctx.save_for_backward(*inputs[:2], *step)
        else:  # a checkpoint that computes the call again must not bring the statistics of another step
            ctx.save_for_backward(*inputs[:2])
            ctx.step = step
        # Not saved: two forward passes may precede their backward passes, and each of these moves the state.
        ctx.ema_gz, ctx.buffer_gz, *ctx.options = inputs[7:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        input, weight, *step = ctx.saved_tensors
        step = step or ctx.step
        found = gradients(input, gradient, weight, Step(*step), ctx.ema_gz, ctx.buffer_gz, *ctx.options)
        return *found, *(None for _ in range(10))


def _mean_square(passes: Passes, input: Tensor, pad_mask: Tensor | None, reduce: Reduce | None) -> Tensor:
    """s, the mean of x² over the positions that are no padding; NaN where it overflows."""
    total = passes.squares(input, pad_mask)
    count = _positions(input) if pad_mask is None else pad_mask.logical_not().sum()
    return or_nan(mean(total, count, reduce))


def gradients(
    input: Tensor,
    gradient: Tensor,
    weight: Tensor,
    step: Step,
    ema_gz: Tensor,
    buffer_gz: Tensor,
    momentum: float,
    warmup_iters: int,
    reduce: Reduce | None,
    passes: Passes,
) -> tuple[Tensor, Tensor, Tensor]:
    """∂x = (γ r ∂y − e z)/sqrt(σ² + ε), ∂γ = Σ ∂y r z, ∂β = Σ ∂y, z the normalised input; moves e and its window."""
    along, alone = passes.along(input, gradient)
    along = along * step.rstd
    gain = weight * step.ratio
    pull = mean(along, _positions(input), reduce)
    pull = smoothed_gradient(gain * pull, step, ema_gz, buffer_gz, momentum, warmup_iters)
    grad_x = passes.gradient(input, gradient, gain * step.rstd, pull * step.rstd.square())
    return grad_x, (along * step.ratio).to(weight.dtype), alone.to(weight.dtype)


def _positions(input: Tensor) -> int:
    return input.shape[:-1].numel()


# --- the passes in torch ---


def _squares(input: Tensor, pad_mask: Tensor | None) -> Tensor:
    x = input.to(statistics_dtype(input.dtype))
    return over_positions((x if pad_mask is None else x.masked_fill(pad_mask.unsqueeze(-1), 0)).square())


def _scaled(input: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return (input.to(statistics_dtype(input.dtype)) * scale + shift).to(input.dtype)


def _along(input: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    x, gy = (each.to(statistics_dtype(input.dtype)) for each in (input, gradient))
    return over_positions(gy * x), over_positions(gy)


def _gradient(input: Tensor, gradient: Tensor, of_gradient: Tensor, of_input: Tensor) -> Tensor:
    x, gy = (each.to(statistics_dtype(input.dtype)) for each in (input, gradient))
    return (gy * of_gradient - x * of_input).to(input.dtype)


TORCH = Passes(_squares, _scaled, _along, _gradient)
