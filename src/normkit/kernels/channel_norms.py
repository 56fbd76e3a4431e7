"""The native channel norms made differentiable: GroupNorm, EvoNorm, batch-channel norm, weight standardisation.

They compute on plain CPU tensors, straight from their addresses. What is traced or transformed (`torch.compile`,
`torch.export`, `torch.func`, FakeTensor) is left to the formulas in torch's operators, which a compiler can fuse.
A second derivative is that of the reference.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_legacy_batchedtensor
from torch.autograd import forward_ad
from torch.autograd.graph import increment_version
from torch.nn import Parameter

from normkit.kernels import native_planes
from normkit.kernels.dispatch import tracing
from normkit.kernels.reference import batch_channel_norm as bcn_reference
from normkit.kernels.reference import evonorm as evonorm_reference
from normkit.kernels.reference import group_norm as group_norm_reference
from normkit.kernels.reference import weight_standardization as ws_reference

__all__ = [
    "WHY_NOT",
    "batch_channel_norm",
    "evonorm_b0",
    "evonorm_s0",
    "group_norm",
    "supports",
    "weight_standardize",
]

WHY_NOT: str = native_planes.WHY_NOT
Gradients = tuple[Tensor | None, ...]


def supports(op: str, input: Tensor, *args: Any) -> str | None:
    """None if the native kernel can do this call, else the reason why not."""
    if WHY_NOT:
        return WHY_NOT
    if tracing():
        return "the call is traced or transformed, and a kernel outside of torch sees addresses only"
    if input.dtype not in native_planes.DTYPES:
        return f"the native kernels take float32, bfloat16 and float16, not {input.dtype}"
    if forward_ad._current_level >= 0:
        return "it has no forward-mode derivative"
    for tensor in (input, *args):
        if isinstance(tensor, Tensor) and not _plain(tensor):
            return f"a {type(tensor).__name__} on {tensor.device} does not lie plainly in the CPU's memory"
    if input.numel() == 0:
        return "the input has no elements"
    return _own_objection(op, args)


def _own_objection(op: str, args: tuple[Any, ...]) -> str | None:
    if op in ("evonorm_s0", "evonorm_b0") and args[2] is None:
        return "without v nothing is normalised: y = γ x + β"
    running = {"evonorm_b0": args[3:4], "batch_channel_norm": args[:2]}.get(op, ())
    for statistic in running:
        if statistic.dtype is not torch.float32 or not statistic.is_contiguous():
            return f"the running statistics must be contiguous float32, got {statistic.dtype}"
    if op == "batch_channel_norm" and args[7] and isinstance(args[9], Tensor) and args[9].numel() != 1:
        return "the speed differs between channels"
    return None


def _plain(tensor: Tensor) -> bool:
    """Whether the tensor's elements are in dense CPU memory at its address."""
    if type(tensor) not in (Tensor, Parameter) or not tensor.is_cpu or tensor.layout is not torch.strided:
        return False
    return not (tensor.is_neg() or is_legacy_batchedtensor(tensor))  # the latter: autograd.grad(is_grads_batched=True)


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """y = (x − μ)/sqrt(σ² + ε) γ + β."""
    if out is None and _recorded(input, weight, bias):
        return _apply(_GroupNorm, input, num_groups, weight, bias, eps)
    return _written(native_planes.group_norm(input, num_groups, weight, bias, eps, out=out, keep=False)[0], out)


def evonorm_s0(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    v: Tensor,
    groups: int,
    eps: float = 1e-5,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """y = x σ(v x)/sqrt(s² + ε) γ + β."""
    if out is None and _recorded(input, weight, bias, v):
        return _apply(_EvoNormS0, input, weight, bias, v, groups, eps)
    return _written(native_planes.evonorm_s0(input, weight, bias, v, groups, eps, out=out, keep=False)[0], out)


def evonorm_b0(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    v: Tensor,
    running_var: Tensor,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-3,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """y = x/max(sqrt(s²_batch + ε), v x + sqrt(s²_instance + ε)) γ + β."""
    arguments = (input, weight, bias, v, running_var, training, momentum, eps)
    if training:
        increment_version(running_var)
    if out is None and _recorded(input, weight, bias, v):
        return _apply(_EvoNormB0, *arguments)
    return _written(native_planes.evonorm_b0(*arguments, out=out, keep=False)[0], out)


def batch_channel_norm(
    input: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    bn_weight: Tensor,
    bn_bias: Tensor,
    num_groups: int,
    weight: Tensor,
    bias: Tensor,
    training: bool = False,
    style: str = "estimate",
    speed: float | Tensor = 0.1,
    eps: float = 1e-5,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """y = w GN(γ (x − μ)/sqrt(σ² + ε) + β) + b."""
    speed = float(speed) if training else 0.0
    arguments = (input, running_mean, running_var, bn_weight, bn_bias, num_groups, weight, bias, training, style)
    if training:
        increment_version((running_mean, running_var))
    if out is None and _recorded(input, bn_weight, bn_bias, weight, bias):
        return _apply(_BatchChannelNorm, *arguments, speed, eps)
    return _written(native_planes.batch_channel_norm(*arguments, speed, eps, out=out, keep=False)[0], out)


def weight_standardize(
    weight: Tensor, variant: str = "official", eps: float | None = None, *, out: Tensor | None = None
) -> Tensor:
    """Ŵ = (W − mean)/σ."""
    eps = ws_reference.DEFAULT_EPS[variant] if eps is None else eps
    if out is None and _recorded(weight):
        return _apply(_WeightStandardize, weight, variant, eps)
    return _written(native_planes.weight_standardize(weight, variant, eps, out=out, keep=False)[0], out)


def _recorded(*tensors: Tensor | None) -> bool:
    if not torch.is_grad_enabled():
        return False
    return any(tensor is not None and tensor.requires_grad for tensor in tensors)


def _apply(function: type[torch.autograd.Function], *args: Any) -> Tensor:
    # Not `function.apply`: it looks for transforms, of which `supports` has found none.
    return super(torch.autograd.Function, function).apply(*args)


def _written(y: Tensor, out: Tensor | None) -> Tensor:
    if out is not None:
        increment_version(out)  # autograd must see that what it may have saved has been overwritten
    return y


def _by_hand(grad: Tensor) -> bool:
    """Whether the native backward kernel can run: nobody differentiates it or looks through it."""
    return not torch.is_grad_enabled() and not tracing() and _plain(grad)


def _by_formula(reference: Callable[..., Tensor], inputs: Sequence[Tensor | None], grad: Tensor) -> Gradients:
    """The gradients as torch finds them in the reference, so that they can be differentiated again."""
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        own = [None if each is None else each.view_as(each) for each in inputs]
        wanted = [each for each in own if each is not None and each.requires_grad]
        found = iter(torch.autograd.grad(reference(*own), wanted, grad, create_graph=again))
    return tuple(next(found) if each is not None and each.requires_grad else None for each in own)


def _typed(gradients: tuple[Tensor, ...], inputs: Sequence[Tensor | None]) -> Gradients:
    """Each gradient in its input's type; None for an input that is not there."""
    return tuple(
        None if each is None else gradient.to(each.dtype) for gradient, each in zip(gradients, inputs, strict=True)
    )


class _GroupNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, input: Tensor, num_groups: int, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> Tensor:
        y, moments = native_planes.group_norm(input, num_groups, weight, bias, eps)
        ctx.save_for_backward(input, weight, bias, moments)
        ctx.groups, ctx.eps = num_groups, eps
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Gradients:
        *inputs, moments = ctx.saved_tensors
        input, weight, _ = inputs
        if _by_hand(grad):
            found = native_planes.group_norm_backward(input, grad, weight, moments, ctx.groups, ctx.eps)
            dx, d_weight, d_bias = _typed(found, inputs)
        else:
            dx, d_weight, d_bias = _by_formula(
                lambda x, w, b: group_norm_reference.group_norm(x, ctx.groups, w, b, ctx.eps), inputs, grad
            )
        return dx, None, d_weight, d_bias, None


class _EvoNormS0(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor, v: Tensor, groups: int, eps: float) -> Tensor:
        y, moments = native_planes.evonorm_s0(input, weight, bias, v, groups, eps)
        ctx.save_for_backward(input, weight, bias, v, moments)
        ctx.how = groups, eps
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Gradients:
        *inputs, moments = ctx.saved_tensors
        input, weight, _, v = inputs
        if _by_hand(grad):
            found = native_planes.evonorm_s0_backward(input, grad, weight, v, moments, *ctx.how)
            gradients = _typed(found, inputs)
        else:
            gradients = _by_formula(lambda *each: evonorm_reference.evonorm_s0(*each, *ctx.how), inputs, grad)
        return *gradients, None, None


class _EvoNormB0(torch.autograd.Function):
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
        how = training, momentum, eps
        y, moments, channel_moments = native_planes.evonorm_b0(input, weight, bias, v, running_var, *how)
        ctx.save_for_backward(input, weight, bias, v, moments, channel_moments)
        ctx.training, ctx.eps = training, eps
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Gradients:
        *inputs, moments, channel_moments = ctx.saved_tensors
        input, *parameters = inputs
        if _by_hand(grad):
            weight, bias, v = parameters
            how = ctx.training, ctx.eps
            found = native_planes.evonorm_b0_backward(input, grad, weight, bias, v, moments, channel_moments, *how)
            gradients = _typed(found, inputs)
        else:
            variance = channel_moments.view(2, -1)[1].float()  # a copy: in training the reference moves it
            gradients = _by_formula(_b0_formula(variance, ctx.training, ctx.eps), inputs, grad)
        return *gradients, None, None, None, None


def _b0_formula(variance: Tensor, training: bool, eps: float) -> Callable[..., Tensor]:
    def formula(x: Tensor, weight: Tensor, bias: Tensor, v: Tensor) -> Tensor:
        return evonorm_reference.evonorm_b0(x, weight, bias, v, variance, training, eps=eps)

    return formula


class _BatchChannelNorm(torch.autograd.Function):
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
        y, *moments = native_planes.batch_channel_norm(
            input, running_mean, running_var, bn_weight, bn_bias, num_groups, weight, bias, *how
        )
        ctx.save_for_backward(input, bn_weight, bn_bias, weight, bias, *moments)
        ctx.groups = num_groups
        ctx.training, ctx.style, _, ctx.eps = how
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Gradients:
        *inputs, moments, channel_moments = ctx.saved_tensors
        input, bn_weight, bn_bias, weight, _ = inputs
        if _by_hand(grad):
            how = ctx.groups, ctx.training, ctx.style, ctx.eps
            found = native_planes.batch_channel_norm_backward(
                input, grad, bn_weight, bn_bias, weight, moments, channel_moments, *how
            )
            gradients = _typed(found, inputs)
        else:
            gradients = _by_formula(_bcn_formula(ctx, channel_moments), inputs, grad)
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


class _WeightStandardize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, variant: str, eps: float) -> Tensor:
        y, moments = native_planes.weight_standardize(weight, variant, eps)
        ctx.save_for_backward(weight, moments)
        ctx.how = variant, eps
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Gradients:
        weight, moments = ctx.saved_tensors
        if _by_hand(grad):
            dw: Tensor | None = native_planes.weight_standardize_backward(weight, grad, moments, *ctx.how)
        else:
            (dw,) = _by_formula(lambda w: ws_reference.weight_standardize(w, *ctx.how), (weight,), grad)
        return dw, None, None
