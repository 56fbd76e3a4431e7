"""EvoNorm from torch's operators in few passes: S0 and S1 with their gradient by hand, B0–B2 with one read of x."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from normkit.kernels.channels import per_channel
from normkit.kernels.dispatch import forward_mode, tracing
from normkit.kernels.moments import moments
from normkit.kernels.reference import evonorm as reference
from normkit.kernels.reference._precision import statistics_dtype

__all__ = ["evonorm_b0", "evonorm_b1", "evonorm_b2", "evonorm_s0", "evonorm_s1"]


def evonorm_s0(input: Tensor, weight: Tensor, bias: Tensor, v: Tensor | None, groups: int, eps: float = 1e-5) -> Tensor:
    """EvoNorm-S0; of the size of x, x alone is kept for the backward pass."""
    if v is None:
        return _affine(input, weight, bias)
    # A compiler fuses the formula and decides itself what to keep; `_S0` has no derivative that goes forward.
    if torch.compiler.is_compiling() or forward_mode():
        return reference.evonorm_s0(input, weight, bias, v, groups, eps)
    return _S0.apply(input, weight, bias, v, groups, eps)[0]


def evonorm_s1(input: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float = 1e-5) -> Tensor:
    """EvoNorm-S1, which is S0 with v = 1."""
    return evonorm_s0(input, weight, bias, torch.ones_like(weight), groups, eps)


def evonorm_b0(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    v: Tensor | None,
    running_var: Tensor,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-3,
) -> Tensor:
    """EvoNorm-B0; the batch's variance is merged from those of its instances, so x is read once for both."""
    if v is None:
        return _affine(input, weight, bias)
    x = input.to(statistics_dtype(input.dtype))
    variance, mean = moments(x.flatten(2), 2)
    batch = _batch_std(x, variance, mean, running_var, training, momentum, eps)
    instance = torch.addcmul(_over_space((variance + eps).sqrt(), x), per_channel(v, x), x)
    return _divided(x, instance.maximum(batch), weight, bias).to(input.dtype)


def evonorm_b1(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_var: Tensor,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """EvoNorm-B1, its statistics as B0's."""
    x = input.to(statistics_dtype(input.dtype))
    variance, mean = moments(x.flatten(2), 2)
    batch = _batch_std(x, variance, mean, running_var, training, momentum, eps)
    rms = _over_space((variance + mean.square() + eps).sqrt(), x)
    return _divided(x, torch.addcmul(rms, x, rms).maximum(batch), weight, bias).to(input.dtype)


def evonorm_b2(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_var: Tensor,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """EvoNorm-B2, its statistics as B0's."""
    x = input.to(statistics_dtype(input.dtype))
    variance, mean = moments(x.flatten(2), 2)
    batch = _batch_std(x, variance, mean, running_var, training, momentum, eps)
    rms = _over_space((variance + mean.square() + eps).sqrt(), x)
    return _divided(x, (rms - x).maximum(batch), weight, bias).to(input.dtype)


def _batch_std(
    x: Tensor, variance: Tensor, mean: Tensor, running_var: Tensor, training: bool, momentum: float, eps: float
) -> Tensor:
    """sqrt(s²_batch + ε), merged from the moments (B, C) of the instances; in training `running_var` moves."""
    batch_variance = running_var.to(x.dtype)
    if training:
        batch_variance = variance.mean(0) + moments(mean, 0)[0]
        reference.move_variance(running_var, batch_variance, x.numel() // x.shape[1], momentum)
    return per_channel((batch_variance + eps).sqrt(), x)


def _divided(x: Tensor, denominator: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.addcmul(per_channel(bias, x), x / denominator, per_channel(weight, x))


class _S0(torch.autograd.Function):
    """Forward returns y and, for the backward pass, mean and 1/std of each group."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        input: Tensor, weight: Tensor, bias: Tensor, v: Tensor, groups: int, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        x = input.to(statistics_dtype(input.dtype))
        mean, rstd = _group_statistics(x, groups, eps)
        multiply, add = _arithmetic()
        y = multiply((per_channel(v, x) * x).sigmoid_(), x)
        y = multiply(y, per_channel(weight, x) * _over_space(_over_channels(rstd, x), x))
        return add(y, per_channel(bias, x)).to(input.dtype), mean, rstd

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        input, weight, bias, v, ctx.groups, ctx.eps = inputs
        _, mean, rstd = output
        ctx.mark_non_differentiable(mean, rstd)
        ctx.save_for_backward(input, weight, bias, v, mean, rstd)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        input, weight, bias, v, mean, rstd = ctx.saved_tensors
        x = input.to(mean.dtype)
        if torch.is_grad_enabled():  # a second derivative is wanted: mean and rstd must be functions of x again
            mean, rstd = _group_statistics(x, ctx.groups, ctx.eps)
        gradients = _s0_gradients(x, gradient.to(mean.dtype), weight.to(x.dtype), per_channel(v, x), mean, rstd)
        primals = (input, weight, bias, v)
        return *(grad.to(primal.dtype) for grad, primal in zip(gradients, primals, strict=True)), None, None


def _s0_gradients(
    x: Tensor, g: Tensor, gamma: Tensor, v: Tensor, mean: Tensor, rstd: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients for x, γ, β and v, given that of y.

    With s = σ(v x), r = rstd and n the entries of a group: ∂x = g γ r (s + v x s(1−s)) − (x−μ) r³/n Σ_group g γ x s;
    ∂γ = Σ g x s r; ∂β = Σ g; ∂v = Σ g γ r x · x s(1−s).
    """
    multiply, add = _arithmetic()
    space = tuple(range(2, x.ndim))
    r = _over_channels(rstd, x)
    s = torch.sigmoid(v * x)
    swish = multiply(g * x, s)  # g x s
    along_y = swish.sum(space)
    slope = add(swish, swish * s, alpha=-1)  # g x s(1−s)
    along_v = (slope * x).sum(space)
    group_sum = (along_y * gamma).reshape(*rstd.shape, x.shape[1] // rstd.shape[1]).sum(-1)
    pull = _over_channels(group_sum * rstd**3 * (rstd.numel() / max(x.numel(), 1)), x)
    grad_x = add(multiply(slope, v), multiply(s, g))
    grad_x = multiply(grad_x, _over_space(gamma * r, x))
    towards_mean = torch.addcmul(_over_space(pull * _over_channels(mean, x), x), x, _over_space(pull, x), value=-1)
    grad_x = add(grad_x, towards_mean)
    return grad_x, (along_y * r).sum(0), g.sum((0, *space)), (along_v * gamma * r).sum(0)


def _arithmetic() -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    """Multiply and add into the first operand, where nothing else has a claim on it: memory is what this costs most.

    Out of place where autograd records (a second derivative) or a transform runs (`vmap` may batch the second operand
    alone).
    """
    if torch.is_grad_enabled() or tracing():
        return torch.mul, torch.add
    return Tensor.mul_, Tensor.add_


def _group_statistics(x: Tensor, groups: int, eps: float) -> tuple[Tensor, Tensor]:
    """Mean and 1/sqrt(variance + ε) of each sample's groups, both (B, G)."""
    variance, mean = moments(x.reshape(x.shape[0], groups, x[:1].numel() // groups), -1)
    return mean, (variance + eps).rsqrt()


def _over_channels(groups: Tensor, x: Tensor) -> Tensor:
    """Values of the groups (B, G) repeated for their channels, (B, C)."""
    return groups.repeat_interleave(x.shape[1] // groups.shape[1], dim=1)


def _over_space(values: Tensor, x: Tensor) -> Tensor:
    """Values (B, C) shaped to broadcast over x (B, C, …)."""
    return values.reshape(*values.shape, *[1] * (x.ndim - 2))


def _affine(input: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The layer without its activation: γ x + β, as in the paper's networks before a residual sum."""
    x = input.to(statistics_dtype(input.dtype))
    return torch.addcmul(per_channel(bias, x), x, per_channel(weight, x)).to(input.dtype)
