"""The native channel norms as functions with a gradient; a second derivative is that of the reference."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from normkit.kernels import native_planes
from normkit.kernels.differentiable import Gradients, by_formula, by_hand, typed
from normkit.kernels.reference import batch_channel_norm as bcn_reference
from normkit.kernels.reference import evonorm as evonorm_reference
from normkit.kernels.reference import group_norm as group_norm_reference
from normkit.kernels.reference import weight_standardization as ws_reference

__all__ = ["BatchChannelNorm", "EvoNormB0", "EvoNormS0", "GroupNorm", "WeightStandardize"]


class GroupNorm(torch.autograd.Function):
    """y = (x − μ)/sqrt(σ² + ε) γ + β by groups of channels."""

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, num_groups: int, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> Tensor:
        """The result; what was read for it is kept for the gradient."""
        y, moments = native_planes.group_norm(input, num_groups, weight, bias, eps)
        ctx.save_for_backward(input, weight, bias, moments)
        ctx.groups, ctx.eps = num_groups, eps
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Gradients:
        """The gradient of each argument, None for those that are no tensors."""
        *inputs, moments = ctx.saved_tensors
        input, weight, _ = inputs
        if by_hand(grad):
            found = native_planes.group_norm_backward(input, grad, weight, moments, ctx.groups, ctx.eps)
            dx, d_weight, d_bias = typed(found, inputs)
        else:
            dx, d_weight, d_bias = by_formula(
                lambda x, w, b: group_norm_reference.group_norm(x, ctx.groups, w, b, ctx.eps), inputs, grad
            )
        return dx, None, d_weight, d_bias, None


class EvoNormS0(torch.autograd.Function):
    """y = x σ(v x)/sqrt(s² + ε) γ + β."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor, v: Tensor, groups: int, eps: float) -> Tensor:
        """The result; what was read for it is kept for the gradient."""
        y, moments = native_planes.evonorm_s0(input, weight, bias, v, groups, eps)
        ctx.save_for_backward(input, weight, bias, v, moments)
        ctx.how = groups, eps
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Gradients:
        """The gradient of each argument, None for those that are no tensors."""
        *inputs, moments = ctx.saved_tensors
        input, weight, _, v = inputs
        if by_hand(grad):
            found = native_planes.evonorm_s0_backward(input, grad, weight, v, moments, *ctx.how)
            gradients = typed(found, inputs)
        else:
            gradients = by_formula(lambda *each: evonorm_reference.evonorm_s0(*each, *ctx.how), inputs, grad)
        return *gradients, None, None


class EvoNormB0(torch.autograd.Function):
    """y = x/max(sqrt(s²_batch + ε), v x + sqrt(s²_instance + ε)) γ + β."""

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight: Tensor,
        bias: Tensor,
        v: Tensor,
        running_var: Tensor,
        training: bool,
        momentum: float,
        eps: float,
    ) -> Tensor:
        """The result; what was read for it is kept for the gradient."""
        how = training, momentum, eps
        y, moments, channel_moments = native_planes.evonorm_b0(input, weight, bias, v, running_var, *how)
        ctx.save_for_backward(input, weight, bias, v, moments, channel_moments)
        ctx.training, ctx.eps = training, eps
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Gradients:
        """The gradient of each argument, None for those that are no tensors."""
        *inputs, moments, channel_moments = ctx.saved_tensors
        input, *parameters = inputs
        if by_hand(grad):
            weight, bias, v = parameters
            how = ctx.training, ctx.eps
            found = native_planes.evonorm_b0_backward(input, grad, weight, bias, v, moments, channel_moments, *how)
            gradients = typed(found, inputs)
        else:
            variance = channel_moments.view(2, -1)[1].float()  # a copy: in training the reference moves it
            gradients = by_formula(_b0_formula(variance, ctx.training, ctx.eps), inputs, grad)
        return *gradients, None, None, None, None


def _b0_formula(variance: Tensor, training: bool, eps: float) -> Callable[..., Tensor]:
    def formula(x: Tensor, weight: Tensor, bias: Tensor, v: Tensor) -> Tensor:
        return evonorm_reference.evonorm_b0(x, weight, bias, v, variance, training, eps=eps)

    return formula


class BatchChannelNorm(torch.autograd.Function):
    """y = w GN(γ (x − μ)/sqrt(σ² + ε) + β) + b."""

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        bn_weight: Tensor,
        bn_bias: Tensor,
        num_groups: int,
        weight: Tensor,
        bias: Tensor,
        *how: Any,
    ) -> Tensor:
        """The result; what was read for it is kept for the gradient."""
        y, *moments = native_planes.batch_channel_norm(
            input, running_mean, running_var, bn_weight, bn_bias, num_groups, weight, bias, *how
        )
        ctx.save_for_backward(input, bn_weight, bn_bias, weight, bias, *moments)
        ctx.groups = num_groups
        ctx.training, ctx.style, _, ctx.eps = how
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Gradients:
        """The gradient of each argument, None for those that are no tensors."""
        *inputs, moments, channel_moments = ctx.saved_tensors
        input, bn_weight, bn_bias, weight, _ = inputs
        if by_hand(grad):
            how = ctx.groups, ctx.training, ctx.style, ctx.eps
            found = native_planes.batch_channel_norm_backward(
                input, grad, bn_weight, bn_bias, weight, moments, channel_moments, *how
            )
            gradients = typed(found, inputs)
        else:
            gradients = by_formula(_bcn_formula(ctx, channel_moments), inputs, grad)
        dx, d_bn_weight, d_bn_bias, d_weight, d_bias = gradients
        return dx, None, None, d_bn_weight, d_bn_bias, None, d_weight, d_bias, None, None, None, None


def _bcn_formula(ctx: Any, channel_moments: Tensor) -> Callable[..., Tensor]:
    of_batch = ctx.training and ctx.style == "batch"
    mean, variance = channel_moments.view(2, -1).float()  # copies: with the batch's statistics the reference moves them

    def formula(x: Tensor, bn_weight: Tensor, bn_bias: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return bcn_reference.batch_channel_norm(
            x, mean, variance, bn_weight, bn_bias, ctx.groups, weight, bias, of_batch, ctx.style, eps=ctx.eps
        )

    return formula


class WeightStandardize(torch.autograd.Function):
    """Ŵ = (W − mean)/σ by filters."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, variant: str, eps: float) -> Tensor:
        """The result; what was read for it is kept for the gradient."""
        y, moments = native_planes.weight_standardize(weight, variant, eps)
        ctx.save_for_backward(weight, moments)
        ctx.how = variant, eps
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Gradients:
        """The gradient of each argument, None for those that are no tensors."""
        weight, moments = ctx.saved_tensors
        if by_hand(grad):
            dw: Tensor | None = native_planes.weight_standardize_backward(weight, grad, moments, *ctx.how)
        else:
            (dw,) = by_formula(lambda w: ws_reference.weight_standardize(w, *ctx.how), (weight,), grad)
        return dw, None, None
