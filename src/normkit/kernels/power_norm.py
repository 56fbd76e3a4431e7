"""Power normalisation by column kernels: once the warm-up is over, each pass reads x once.

With u = x s, s the scale of the position's group of channels, both passes are affine in u:

    forward     y  = u · γ/sqrt(d + ε) + β
    PN          gu = gy · γ/sqrt(ψ² + ε) − u · (1 − α_b) e/sqrt((d + ε)(ψ² + ε))
    PN-V        gu = gy · γ/sqrt(ψ² + ε) − u · γ (Σ gy u)/(n sqrt(ψ² + ε)³)

and the sums that they need, Σ u², Σ gy u and Σ gy of each channel, come with the same reads.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from normkit.kernels import differentiable, native_columns, native_power_step
from normkit.kernels.columns import Columns
from normkit.kernels.reference import power_norm as reference
from normkit.kernels.reference._precision import statistics_dtype
from normkit.kernels.reference.means import Reduce, mean, or_nan

__all__ = ["WHY_NOT", "by_columns", "power_norm", "prefers", "supports"]

WHY_NOT: str = native_columns.WHY_NOT


def supports(op: str, input: Tensor, *args: Any, **options: Any) -> str | None:
    """None if the native kernels can do this call, else the reason why not."""
    return differentiable.objection(input, args, native_columns.DTYPES)


def prefers(op: str, input: Tensor, *args: Any) -> str | None:
    """None, or why the formulas are quicker for a call that the kernels could do."""
    return native_columns.too_narrow(input, training=bool(args[5]))


def power_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_phi: Tensor,
    running_gz: Tensor | None = None,
    iters: Tensor | None = None,
    training: bool = False,
    variant: str = "pn",
    alpha_fwd: float = 0.9,
    alpha_bwd: float = 0.9,
    warmup_iters: int = 4000,
    group_num: int = 1,
    eps: float = 1e-5,
    backward_scale: str = "batch",
    pad_mask: Tensor | None = None,
    reduce: Reduce | None = None,
) -> Tensor:
    """y = γ u / sqrt(d + ε) + β; arguments as `normkit.functional.power_norm`."""
    if training and variant == "pn" and reduce is None and native_columns.holds(running_phi, running_gz, iters):
        assert running_gz is not None
        assert iters is not None
        given = (input, weight, bias, running_phi, running_gz, iters, alpha_fwd, alpha_bwd, warmup_iters)
        return native_power_step.trained(*given, group_num, eps, backward_scale, pad_mask)
    state = (running_phi, running_gz, iters, training, variant, alpha_fwd, alpha_bwd, warmup_iters)
    return by_columns(native_columns, input, weight, bias, *state, group_num, eps, backward_scale, pad_mask, reduce)


def by_columns(
    columns: Columns,
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_phi: Tensor,
    running_gz: Tensor | None = None,
    iters: Tensor | None = None,
    training: bool = False,
    variant: str = "pn",
    alpha_fwd: float = 0.9,
    alpha_bwd: float = 0.9,
    warmup_iters: int = 4000,
    group_num: int = 1,
    eps: float = 1e-5,
    backward_scale: str = "batch",
    pad_mask: Tensor | None = None,
    reduce: Reduce | None = None,
) -> Tensor:
    """The same by the kernels of `columns`."""
    recorded = differentiable.recorded(input, weight, bias, None if training else running_phi)
    # Not the kernels' form: a gradient through the running statistic's map, or through a statistic of some positions.
    if (recorded and not training) or (variant == "pn-v" and training and (pad_mask is not None or reduce is not None)):
        state = (running_phi, running_gz, iters, training, variant, alpha_fwd, alpha_bwd, warmup_iters)
        return reference.power_norm(input, weight, bias, *state, group_num, eps, backward_scale, pad_mask, reduce)
    x = input.detach()
    if not training:
        return _affine(columns, x, weight, bias, running_phi, group_num, eps)[0]
    if iters is not None:
        iters.add_(1)
    if variant == "pn-v":
        y, psi, scales = _batch_norm(columns, x, weight, bias, group_num, eps)
        reference.move_running_phi(running_phi, psi, alpha_fwd)
        return differentiable.apply(_Exact, input, weight, bias, (columns, y, psi, scales, eps)) if recorded else y
    assert iters is not None
    assert running_gz is not None
    before = running_phi.clone()
    if input.is_cpu and int(iters) > warmup_iters:  # elsewhere to read the step's number would stop the queue
        y, scales, squares = _affine(columns, x, weight, bias, before, group_num, eps, pad_mask, summed=True)
        divisor, psi = before, _mean_square(squares, x, pad_mask, reduce)
    else:
        _, scales, squares = columns.forward(x, groups=group_num, eps=eps, left_out=pad_mask, summed=True)
        psi = _mean_square(squares, x, pad_mask, reduce)
        divisor = torch.where(iters <= warmup_iters, psi, before.to(psi.dtype))
        y, _, _ = _affine(columns, x, weight, bias, divisor, group_num, eps, scales=scales)
    reference.move_running_phi(running_phi, psi, alpha_fwd, iters, warmup_iters)
    if not recorded:
        return y
    scale = psi if backward_scale == "batch" else divisor
    step = _Step(columns, divisor, scale, scales, squares, running_gz, alpha_bwd, eps, reduce)
    return differentiable.apply(_Approximate, input, weight, bias, (y, step))


class _Step(NamedTuple):
    """What PN's forward pass leaves to its backward pass."""

    columns: Columns
    divisor: Tensor
    scale: Tensor
    scales: Tensor | None
    squares: Tensor
    running_gz: Tensor
    alpha_bwd: float
    eps: float
    reduce: Reduce | None


def _affine(
    columns: Columns,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    squared: Tensor,
    groups: int,
    eps: float,
    pad_mask: Tensor | None = None,
    *,
    scales: Tensor | None = None,
    summed: bool = False,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Y = γ u / sqrt(squared + ε) + β, the scales, and Σ u²."""
    gain = _gain(weight, squared, eps)
    y, scales, sums = columns.forward(
        x, gain, bias, groups=groups, eps=eps, scales=scales, left_out=pad_mask, summed=summed
    )
    return y, scales, squared if sums is None else sums


def _batch_norm(
    columns: Columns, x: Tensor, weight: Tensor | None, bias: Tensor | None, groups: int, eps: float
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Y by the batch's own ψ², which takes a read of its own; ψ² and the scales."""
    _, scales, squares = columns.forward(x, groups=groups, eps=eps, summed=True)
    psi = _mean_square(squares, x, None, None)
    return _affine(columns, x, weight, bias, psi, groups, eps, scales=scales)[0], psi, scales


def _mean_square(squares: Tensor, x: Tensor, pad_mask: Tensor | None, reduce: Reduce | None) -> Tensor:
    count = _positions(x) if pad_mask is None else pad_mask.logical_not().sum()
    return or_nan(mean(squares[0], count, reduce).to(torch.float32))


def _positions(x: Tensor) -> int:
    return x.shape[:-1].numel()


def _gain(weight: Tensor | None, squared: Tensor, eps: float) -> Tensor:
    r = (squared.to(statistics_dtype(squared.dtype)) + eps).rsqrt()
    return r if weight is None else r * weight.detach()


class _Approximate(torch.autograd.Function):
    """PN in training enters the graph; its backward pass moves `running_gz` in place."""

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, weight: Tensor | None, bias: Tensor | None, found: tuple[Tensor, _Step]
    ) -> Tensor:
        y, step = found
        ctx.save_for_backward(input, weight)
        ctx.step, ctx.bias_dtype = step, None if bias is None else bias.dtype
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        input, weight = ctx.saved_tensors
        step: _Step = ctx.step
        if not step.columns.takes(gradient, step.running_gz):  # many gradients at once
            groups = 0 if step.scales is None else step.scales.shape[-1]
            left = (step.divisor, step.scale, step.running_gz, step.alpha_bwd, groups, step.eps, step.reduce)
            return *reference.backward(gradient, input, weight, ctx.bias_dtype, *left), None
        root, scale = (step.divisor + step.eps).rsqrt(), (step.scale + step.eps).rsqrt()
        pull = (1 - step.alpha_bwd) * step.running_gz * root
        of_dy = scale if weight is None else scale * weight.detach()
        dx, sums = step.columns.backward(input, gradient, of_dy, pull * scale, scales=step.scales, summed=True)
        along = sums[0] * root
        moved = (along if weight is None else along * weight.detach()) - pull * root * step.squares.sum(0)
        reference.move_running_gz(step.running_gz, mean(moved, _positions(input), step.reduce))
        for_weight = None if weight is None else along.to(weight.dtype)
        return dx, for_weight, None if ctx.bias_dtype is None else sums[1].to(ctx.bias_dtype), None


class _Exact(torch.autograd.Function):
    """PN-V in training enters the graph, with its exact gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        found: tuple[Columns, Tensor, Tensor, Tensor | None, float],
    ) -> Tensor:
        ctx.columns, y, psi, scales, ctx.eps = found
        ctx.save_for_backward(input, weight, bias, psi, scales)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        *inputs, psi, scales = ctx.saved_tensors
        columns: Columns = ctx.columns
        if torch.is_grad_enabled() or not columns.takes(gradient):
            return *differentiable.by_formula(_formula(scales, ctx.eps), inputs, gradient), None
        input, weight, _ = inputs
        root = (psi + ctx.eps).rsqrt()
        gain = _gain(weight, psi, ctx.eps)
        _, sums = columns.backward(input, gradient, scales=scales, summed=True)
        pull = gain * root.square() * sums[0] / _positions(input)
        dx, _ = columns.backward(input, gradient, gain, pull, scales=scales)
        return *differentiable.typed((dx, sums[0] * root, sums[1]), inputs), None


def _formula(scales: Tensor | None, eps: float) -> Any:
    groups = 0 if scales is None else scales.shape[-1]

    def formula(input: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        u = reference.layer_scale(input.to(torch.float32), groups, eps)
        return reference.normalized(u, reference.quadratic_mean(u, None, None), weight, bias, eps).to(input.dtype)

    return formula
