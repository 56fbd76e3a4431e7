"""Liger-Kernel's functions of ours, as peers on a GPU where it is installed: only those that compute the same.

Nothing is written in place, which the other variants of a scene would see; RMSNorm rounds once, at the end, as ours
does by default (its "gemma" mode).
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from normkit.benchmarks._harness.suite import Inputs, Peer

__all__ = ["liger_add_rms_norm", "liger_cross_entropy", "liger_layer_norm", "liger_rms_norm", "liger_softmax"]


def _liger(call: Callable[..., Any], prepare: Callable[[Inputs], Inputs] | None = None) -> Peer:
    """The peer that `call` is."""
    return Peer("liger", call, prepare=prepare, device="cuda", requires="liger_kernel")


def _function(name: str) -> Any:
    from liger_kernel.transformers import functional

    return getattr(functional, name)


def _softmax(x: Tensor) -> Any:
    return _function("liger_softmax")(x)


def _layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Any:
    return _function("liger_layer_norm")(x, weight, bias, 1e-5)


def _rms_norm(x: Tensor, weight: Tensor) -> Any:
    return _function("liger_rms_norm")(x, weight, 1e-6, 0.0, "gemma", False)


def _add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor) -> Any:
    y, _ = _function("liger_fused_add_rms_norm")(x, residual, weight, 1e-6, 0.0, "gemma", False)
    return y


def _cross_entropy(x: Tensor, target: Tensor) -> Any:
    return _function("liger_cross_entropy")(x, target)


def _own_logits(inputs: Inputs) -> Inputs:
    """Its forward pass writes the gradient over the logits: they must not be everybody's."""
    return (inputs[0].clone(), *inputs[1:])


liger_softmax = _liger(_softmax)
liger_layer_norm = _liger(_layer_norm)
liger_rms_norm = _liger(_rms_norm)
liger_add_rms_norm = _liger(_add_rms_norm)
liger_cross_entropy = _liger(_cross_entropy, _own_logits)
