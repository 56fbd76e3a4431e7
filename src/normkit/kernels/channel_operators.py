"""The native EvoNorm-S0 and weight standardisation as operators that torch can trace and export: `torch.ops.normkit.*`.

A compiler cannot fuse across them, but they are several times quicker than what it makes of the formulas. Group
normalisation has torch's own operator; EvoNorm-B0 and batch-channel normalisation move running statistics, and are left
to the compiler. Eager calls do not come here.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from normkit.kernels import native_planes
from normkit.kernels.reference import evonorm as evonorm_reference
from normkit.kernels.reference import weight_standardization as ws_reference

__all__ = ["evonorm_s0", "weight_standardize"]

# Kept alive by the module: the operators vanish with their library.
_LIBRARY = torch.library.Library("normkit", "FRAGMENT")
_SCHEMAS = {
    "evonorm_s0": "(Tensor input, Tensor weight, Tensor bias, Tensor v, int groups, float eps) -> (Tensor, Tensor)",
    "evonorm_s0_backward": (
        "(Tensor input, Tensor grad, Tensor weight, Tensor v, Tensor moments, int groups, float eps)"
        " -> (Tensor, Tensor, Tensor, Tensor)"
    ),
    "weight_standardize": "(Tensor weight, str variant, float eps) -> (Tensor, Tensor)",
    "weight_standardize_backward": ("(Tensor weight, Tensor grad, Tensor moments, str variant, float eps) -> Tensor"),
}
for _name, _schema in _SCHEMAS.items():
    _LIBRARY.define(_name + _schema, tags=(torch.Tag.pt2_compliant_tag,))

evonorm_s0 = torch.ops.normkit.evonorm_s0.default
weight_standardize = torch.ops.normkit.weight_standardize.default
_evonorm_s0_backward = torch.ops.normkit.evonorm_s0_backward.default
_weight_standardize_backward = torch.ops.normkit.weight_standardize_backward.default


# --- what each operator computes, and the shapes of it ---


def _promised(compute: Callable[..., Any]) -> Callable[..., Any]:
    """Give the first result the memory order of the first argument, as the fake kernels promise."""

    def kept(first: Tensor, *rest: Any) -> Any:
        results = compute(first, *rest)
        result = results[0] if isinstance(results, tuple) else results
        if first.is_contiguous() or result.stride() == torch.empty_like(first, device="meta").stride():
            return results
        result = torch.empty_like(first).copy_(result)
        return (result, *results[1:]) if isinstance(results, tuple) else result

    return kept


def _like_evonorm_s0(input: Tensor, *parameters_and_groups: Any) -> tuple[Tensor, Tensor]:
    groups = parameters_and_groups[3]
    return torch.empty_like(input), input.new_empty(2 * input.shape[0] * groups, dtype=torch.float64)


def _like_evonorm_s0_backward(input: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    of_channels = (input.new_empty(input.shape[1], dtype=torch.float32) for _ in range(3))
    d_weight, d_bias, d_v = of_channels
    return torch.empty_like(input), d_weight, d_bias, d_v


def _like_weight_standardize(weight: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return torch.empty_like(weight), weight.new_empty(2 * weight.shape[0], dtype=torch.float64)


_KERNELS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "evonorm_s0": (native_planes.evonorm_s0, _like_evonorm_s0),
    "evonorm_s0_backward": (native_planes.evonorm_s0_backward, _like_evonorm_s0_backward),
    "weight_standardize": (native_planes.weight_standardize, _like_weight_standardize),
    "weight_standardize_backward": (
        native_planes.weight_standardize_backward,
        lambda weight, *_: torch.empty_like(weight),
    ),
}
for _name, (_kernel, _fake) in _KERNELS.items():
    _LIBRARY.impl(_name, _promised(_kernel), "CPU")
    torch.library.register_fake(f"normkit::{_name}", _fake, lib=_LIBRARY)


# --- derivatives ---


def _keep_evonorm_s0(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    input, weight, bias, v, ctx.groups, ctx.eps = inputs
    ctx.save_for_backward(input, weight, v, output[1])
    ctx.types = weight.dtype, bias.dtype, v.dtype
    ctx.set_materialize_grads(False)


def _evonorm_s0_derivative(ctx: Any, grad: Tensor | None, _: Any) -> tuple[Tensor | None, ...]:
    if grad is None:
        return None, None, None, None, None, None
    input, weight, v, moments = ctx.saved_tensors
    dx, *of_channels = _evonorm_s0_backward(input, grad, weight, v, moments, ctx.groups, ctx.eps)
    return dx, *(each.to(dtype) for each, dtype in zip(of_channels, ctx.types, strict=True)), None, None


def _keep_weight_standardize(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    weight, ctx.variant, ctx.eps = inputs
    ctx.save_for_backward(weight, output[1])
    ctx.set_materialize_grads(False)


def _weight_standardize_derivative(ctx: Any, grad: Tensor | None, _: Any) -> tuple[Tensor | None, ...]:
    if grad is None:
        return None, None, None
    weight, moments = ctx.saved_tensors
    return _weight_standardize_backward(weight, grad, moments, ctx.variant, ctx.eps), None, None


def _keep_all(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*(each for each in inputs if isinstance(each, Tensor)))
    ctx.how = tuple(each for each in inputs if not isinstance(each, Tensor))


def _evonorm_s0_second_derivative(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
    """That of the reference's own gradient, a function of x, dy, γ and v; the bias only adds."""
    input, grad, weight, v, _ = ctx.saved_tensors

    def gradients(input: Tensor, grad: Tensor, weight: Tensor, v: Tensor) -> tuple[Tensor, ...]:
        zero = torch.zeros_like(weight)
        _, pull = torch.func.vjp(lambda *each: evonorm_reference.evonorm_s0(*each, *ctx.how), input, weight, zero, v)
        dx, *of_channels = pull(grad)
        return dx, *(each.float() for each in of_channels)

    _, pull_back = torch.func.vjp(gradients, input, grad, weight, v)
    return *pull_back(grads), None, None, None


def _weight_standardize_second_derivative(ctx: Any, along: Tensor) -> tuple[Tensor | None, ...]:
    weight, grad, _ = ctx.saved_tensors

    def gradient(weight: Tensor, grad: Tensor) -> Tensor:
        _, pull = torch.func.vjp(lambda each: ws_reference.weight_standardize(each, *ctx.how), weight)
        (dw,) = pull(grad)
        return dw

    _, pull_back = torch.func.vjp(gradient, weight, grad)
    return *pull_back(along), None, None, None


for _name, _derivative, _keep in (
    ("evonorm_s0", _evonorm_s0_derivative, _keep_evonorm_s0),
    ("weight_standardize", _weight_standardize_derivative, _keep_weight_standardize),
    ("evonorm_s0_backward", _evonorm_s0_second_derivative, _keep_all),
    ("weight_standardize_backward", _weight_standardize_second_derivative, _keep_all),
):
    torch.library.register_autograd(f"normkit::{_name}", _derivative, setup_context=_keep, lib=_LIBRARY)
