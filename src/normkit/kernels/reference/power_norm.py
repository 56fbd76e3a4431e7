"""PowerNorm in plain torch: divide by the quadratic mean over the batch, or by its running value.

Shen et al. 2020 (arXiv:2003.07845), sections 3 and 4. PN-V is differentiated exactly. PN uses a running statistic,
which no batch can be differentiated through; its backward pass is the paper's approximation (`gradients`). What a
kernel can take over are the four formulas `layer_scale`, `quadratic_mean`, `normalized` and `gradients`.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from normkit.kernels.dispatch import forward_mode, tracing
from normkit.kernels.held import held
from normkit.kernels.reference._precision import statistics_dtype
from normkit.kernels.reference.means import Reduce, mean, or_nan, over_positions

__all__ = [
    "backward",
    "gradients",
    "layer_scale",
    "move_running_gz",
    "move_running_phi",
    "normalized",
    "power_norm",
    "quadratic_mean",
]

Channels = Float[Tensor, " channels"]
Positions = Float[Tensor, "*batch channels"]


def power_norm(
    input: Positions,
    weight: Channels | None,
    bias: Channels | None,
    running_phi: Channels,
    running_gz: Channels | None = None,
    iters: Int[Tensor, ""] | None = None,
    training: bool = False,
    variant: str = "pn",
    alpha_fwd: float = 0.9,
    alpha_bwd: float = 0.9,
    warmup_iters: int = 4000,
    group_num: int = 1,
    eps: float = 1e-5,
    backward_scale: str = "batch",
    pad_mask: Bool[Tensor, "*batch"] | None = None,
    reduce: Reduce | None = None,
) -> Positions:
    """y = γ u / sqrt(d + ε) + β with u the layer-scaled input and d the batch's or the running quadratic mean."""
    x = input.to(statistics_dtype(input.dtype))
    u = layer_scale(x, group_num, eps)
    if not training or (input.numel() == 0 and reduce is None):
        return normalized(u, running_phi, weight, bias, eps).to(input.dtype)
    psi = quadratic_mean(u if variant == "pn-v" else u.detach(), pad_mask, reduce)
    if iters is not None:
        iters.add_(1)
    if variant == "pn-v":
        move_running_phi(running_phi, psi.detach(), alpha_fwd)
        return normalized(u, psi, weight, bias, eps).to(input.dtype)
    assert iters is not None
    assert running_gz is not None
    divisor = torch.where(
        iters <= warmup_iters, psi, held(running_phi).to(psi.dtype)
    )  # no `.item()`: no synchronization
    move_running_phi(running_phi, psi, alpha_fwd, iters, warmup_iters)
    scale = psi if backward_scale == "batch" else divisor
    if not torch.compiler.is_compiling() and forward_mode():
        return _pushed_forward(u, divisor, scale, weight, bias, eps).to(input.dtype)
    options = (alpha_bwd, group_num, eps, reduce)
    return _Approximate.apply(input, u.detach(), weight, bias, divisor, scale, running_gz, options)


def layer_scale(x: Positions, group_num: int, eps: float) -> Positions:
    """u = x / sqrt(mean of x² over the position's group of channels + ε); x itself for `group_num` 0."""
    return x / _group_root(x, group_num, eps) if group_num else x


def quadratic_mean(u: Positions, pad_mask: Bool[Tensor, "*batch"] | None, reduce: Reduce | None) -> Channels:
    """ψ² = mean of u² over the positions that are no padding, on all ranks that `reduce` adds up; NaN on overflow."""
    squares, count = u.square(), u.shape[:-1].numel()
    if pad_mask is None:
        return or_nan(mean(over_positions(squares), count, reduce))
    # Not u² · keep: what stands at a padded position, an inf perhaps, has no say.
    kept = squares.masked_fill(pad_mask.unsqueeze(-1), 0.0)
    return or_nan(mean(over_positions(kept), pad_mask.logical_not().sum(), reduce))


def normalized(
    u: Positions, squared: Channels, weight: Channels | None, bias: Channels | None, eps: float
) -> Positions:
    """γ u / sqrt(squared + ε) + β."""
    y = u / (squared.to(u.dtype) + eps).sqrt()
    y = y if weight is None else y * weight.to(u.dtype)
    return y if bias is None else y + bias.to(u.dtype)


def gradients(
    gradient: Positions,
    input: Positions,
    weight: Channels | None,
    divisor: Channels,
    scale: Channels,
    running_gz: Channels,
    alpha_bwd: float,
    group_num: int,
    eps: float,
) -> tuple[Positions, Channels, Channels, Channels]:
    """Approximate gradient for the input, those for γ and β, and Σ a û, by which `running_gz` moves.

    With û = u / sqrt(divisor + ε), g = γ gy and e = running_gz: a = g − (1 − α_b) e û and gu = a / sqrt(scale + ε).
    """
    x, gy = input.to(divisor.dtype), gradient.to(divisor.dtype)
    u = layer_scale(x, group_num, eps)
    hat = u / (divisor + eps).sqrt()
    g = gy if weight is None else gy * weight.to(gy.dtype)
    a = g - (1 - alpha_bwd) * running_gz.to(gy.dtype) * hat
    gu = a / (scale + eps).sqrt()
    for_input = _through_layer_scale(gu, u, x, group_num, eps)
    return for_input, over_positions(gy * hat), over_positions(gy), over_positions(a * hat)


def backward(
    gradient: Positions,
    input: Positions,
    weight: Channels | None,
    bias_dtype: torch.dtype | None,
    divisor: Channels,
    scale: Channels,
    running_gz: Channels,
    alpha_bwd: float,
    group_num: int,
    eps: float,
    reduce: Reduce | None,
) -> tuple[Positions, Channels | None, Channels | None]:
    """The gradients for the input, γ and β, each in its own type; `running_gz` moves in place."""
    given = (gradient, input, weight, divisor, scale, running_gz, alpha_bwd, group_num, eps)
    gx, gweight, gbias, moved = gradients(*given)
    if gradient.numel() or reduce is not None:
        move_running_gz(running_gz, mean(moved, gradient.shape[:-1].numel(), reduce))
    for_weight = None if weight is None else gweight.to(weight.dtype)
    return gx.to(input.dtype), for_weight, None if bias_dtype is None else gbias.to(bias_dtype)


@torch.no_grad()
def move_running_phi(
    running_phi: Channels,
    psi: Channels,
    alpha_fwd: float,
    iters: Int[Tensor, ""] | None = None,
    warmup_iters: int = 0,
) -> None:
    """φ ← α φ + (1 − α) ψ², in place; before the end of the warm-up first φ ← φ (k − 1)/k + ψ²/k at step k."""
    phi = running_phi
    psi = psi.to(phi.dtype)
    if iters is not None:
        phi = torch.where(iters < warmup_iters, phi + (psi - phi) / iters, phi)
    running_phi.copy_(torch.lerp(phi, psi, 1 - alpha_fwd))


@torch.no_grad()
def move_running_gz(running_gz: Channels, moved: Channels) -> None:
    """e ← e + mean(a û), in place, where that is finite.

    A gradient that overflowed, as under a gradient scaler that then leaves the step out, would stay in e for good.
    """
    running_gz.add_(torch.where(moved.isfinite(), moved, 0.0).to(running_gz.dtype))


class _Approximate(torch.autograd.Function):
    """PN in training; the backward pass moves `running_gz` (the layer's `ema_gz`) in place."""

    @staticmethod
    def forward(
        input: Tensor,
        u: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        divisor: Tensor,
        scale: Tensor,
        running_gz: Tensor,
        options: tuple[Any, ...],
    ) -> Tensor:
        return normalized(u, divisor, weight, bias, options[2]).to(input.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        input, _, weight, bias, divisor, scale, running_gz, ctx.options = inputs
        if tracing():
            ctx.save_for_backward(input, weight, divisor, scale)
        else:  # a checkpoint that computes the call again must not bring the statistics of another step
            ctx.save_for_backward(input, weight)
            ctx.step = (divisor, scale)
        ctx.bias_dtype = None if bias is None else bias.dtype
        ctx.running_gz = running_gz  # not saved: a second call may move it before this one's backward pass reads it

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        input, weight, *step = ctx.saved_tensors
        divisor, scale = step or ctx.step
        found = backward(gradient, input, weight, ctx.bias_dtype, divisor, scale, ctx.running_gz, *ctx.options)
        return found[0], None, *found[1:], None, None, None, None


def _pushed_forward(
    u: Tensor, divisor: Tensor, scale: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """The same value with the derivative that goes forward: of u / sqrt(scale + ε), what the backward pass transposes.

    Without the term of `running_gz`, which only a gradient that comes back can move.
    """
    still = u.detach()
    hat = still / (divisor + eps).sqrt() + (u - still) / (scale + eps).sqrt()
    hat = hat if weight is None else hat * weight.to(u.dtype)
    return hat if bias is None else hat + bias.to(u.dtype)


def _through_layer_scale(gu: Tensor, u: Tensor, x: Tensor, group_num: int, eps: float) -> Tensor:
    """(gu − u · mean of gu·u over the group) / s, with s the group's root."""
    if not group_num:
        return gu
    pull = _spread((gu * u).unflatten(-1, (group_num, -1)).mean(-1, keepdim=True), x)
    return (gu - u * pull) / _group_root(x, group_num, eps)


def _group_root(x: Tensor, group_num: int, eps: float) -> Tensor:
    return _spread((x.unflatten(-1, (group_num, -1)).square().mean(-1, keepdim=True) + eps).sqrt(), x)


def _spread(groups: Tensor, x: Tensor) -> Tensor:
    """Values of the groups (…, G, 1), repeated for their channels: (…, C)."""
    return groups.expand(*groups.shape[:-1], x.shape[-1] // groups.shape[-2]).flatten(-2)
