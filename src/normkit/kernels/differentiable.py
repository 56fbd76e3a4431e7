"""What kernels on plain memory share that are made differentiable by hand: when they may run, and what if not.

Such a kernel computes straight from the addresses of dense CPU tensors. What is traced or transformed (`torch.compile`,
`torch.export`, `torch.func`, FakeTensor) is left to the formulas in torch's operators, which a compiler can fuse. A
second derivative is that of the reference.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_legacy_batchedtensor
from torch.autograd.graph import increment_version
from torch.nn import Parameter

from normkit.kernels.dispatch import forward_mode, tracing

__all__ = ["Gradients", "apply", "by_formula", "by_hand", "objection", "plain", "recorded", "typed", "written"]

Gradients = tuple[Tensor | None, ...]


def objection(input: Tensor, others: Iterable[Any], dtypes: Iterable[torch.dtype]) -> str | None:
    """Why a kernel on plain memory that takes `dtypes` cannot do a call with these arguments; None if it can."""
    if tracing():
        return "the call is traced or transformed, and a kernel outside of torch sees addresses only"
    if not input.is_cpu:
        return f"the input is on {input.device}, not on the CPU"
    if input.dtype not in dtypes:
        return f"the native kernels take float32, bfloat16 and float16, not {input.dtype}"
    if forward_mode():
        return "it has no forward-mode derivative"
    for tensor in (input, *others):
        if isinstance(tensor, Tensor) and not plain(tensor):
            return f"the call has a {type(tensor).__name__} that keeps its elements in a way of its own"
    return None if input.numel() else "the input has no elements"


def plain(tensor: Tensor) -> bool:
    """Whether the tensor's elements are in dense CPU memory at its address."""
    if type(tensor) not in (Tensor, Parameter) or not tensor.is_cpu or tensor.layout is not torch.strided:
        return False
    return not (tensor.is_neg() or tensor._is_zerotensor() or is_legacy_batchedtensor(tensor))  # is_grads_batched=True


def recorded(*tensors: Tensor | None) -> bool:
    """Whether autograd records a call with these tensors."""
    if not torch.is_grad_enabled():
        return False
    for tensor in tensors:  # noqa: SIM110 - a generator would cost more than what it looks at
        if tensor is not None and tensor.requires_grad:
            return True
    return False


def apply(function: type[torch.autograd.Function], *args: Any) -> Any:
    """`function.apply` without its look for transforms, of which `objection` has found none."""
    return super(torch.autograd.Function, function).apply(*args)


def written(y: Tensor, out: Tensor | None) -> Tensor:
    """y; autograd is told that `out`, which it may have saved, has been overwritten."""
    if out is not None:
        increment_version(out)
    return y


def by_hand(*grads: Tensor | None) -> bool:
    """Whether a native backward kernel can run on these gradients: nobody differentiates it or looks through it."""
    return not torch.is_grad_enabled() and not tracing() and all(grad is None or plain(grad) for grad in grads)


def by_formula(
    reference: Callable[..., Any], inputs: Sequence[Tensor | None], grads: Tensor | Sequence[Tensor]
) -> Gradients:
    """The gradients as torch finds them in the reference, so that they can be differentiated again."""
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        own = [None if each is None else each.view_as(each) for each in inputs]
        wanted = [each for each in own if each is not None and each.requires_grad]
        found = iter(torch.autograd.grad(reference(*own), wanted, grads, create_graph=again))
    return tuple(next(found) if each is not None and each.requires_grad else None for each in own)


def typed(gradients: Sequence[Tensor | None], inputs: Sequence[Tensor | None]) -> Gradients:
    """Each gradient in its input's type and shape; None where either is not there."""
    return tuple(
        None if gradient is None or each is None else _like(gradient, each)
        for gradient, each in zip(gradients, inputs, strict=True)
    )


def _like(gradient: Tensor, input: Tensor) -> Tensor:
    gradient = gradient if gradient.dtype is input.dtype else gradient.to(input.dtype)
    return gradient if gradient.shape == input.shape else gradient.view(input.shape)
