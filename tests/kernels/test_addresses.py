"""What the kernels that work on addresses must not be misled by: strided targets, default devices, torch.jit.trace."""

from collections.abc import Callable

import jaxtyping
import pytest
import torch
from torch import Tensor

from normkit import functional as F


@pytest.mark.parametrize("rows", [64, 1024])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_cross_entropy_of_a_target_that_does_not_lie_densely(rows: int, reduction: str) -> None:
    x, wide = torch.randn(rows, 64), torch.randint(64, (rows, 2))
    for target in (wide[:, 1], wide.flatten()[::2], torch.tensor([3]).expand(rows)):
        wanted = torch.nn.functional.cross_entropy(x, target, reduction=reduction)
        torch.testing.assert_close(F.cross_entropy(x, target, reduction=reduction), wanted, rtol=1e-5, atol=1e-5)


CALLS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": F.softmax,
    "layer_norm": lambda x: F.layer_norm(x, (x.shape[-1],)),
    "rms_norm": lambda x: F.rms_norm(x, (x.shape[-1],)),
    "crms_norm": F.crms_norm,
    "group_norm": lambda x: F.group_norm(x, 8),
    "evonorm_s0": lambda x: F.evonorm_s0(
        x[..., None, None].expand(-1, -1, 4, 4).contiguous(), *torch.ones(3, x.shape[1], device="cpu"), 8
    ),
    "cross_entropy": lambda x: F.cross_entropy(x, torch.zeros(len(x), dtype=torch.long, device="cpu")),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_default_device_does_not_move_what_a_kernel_writes(name: str) -> None:
    x = torch.randn(512, 64)
    wanted = [CALLS[name](x)]
    leaf = x.clone().requires_grad_()
    wanted += torch.autograd.grad(CALLS[name](leaf).square().sum(), leaf)
    torch.set_default_device("meta")
    try:
        leaf = x.clone().requires_grad_()
        found = [CALLS[name](x), *torch.autograd.grad(CALLS[name](leaf).square().sum(), leaf)]
    finally:
        torch.set_default_device(None)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # the checks of the arguments look at sizes
@pytest.mark.parametrize("name", [name for name in CALLS if name not in ("evonorm_s0",)])
def test_torch_jit_trace_sees_what_is_computed(name: str) -> None:
    call = CALLS[name]
    jaxtyping.config.update("jaxtyping_disable", True)  # its checks cannot look into a traced tensor
    try:
        traced = torch.jit.trace(call, (torch.randn(4, 64),), check_trace=False)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
    x = torch.randn(4, 64)
    torch.testing.assert_close(traced(x), call(x), rtol=1e-4, atol=1e-5)


def test_a_sum_of_tensors_that_need_no_gradient_needs_none() -> None:
    x, w = torch.randn(4, 8), torch.randn(8, requires_grad=True)
    y, summed = F.layer_norm(x, (8,), w, residual=x, prenorm=True)
    assert y.requires_grad
    assert not summed.requires_grad
    y.sum().backward()


@pytest.mark.parametrize("shape", [(1, 8), (1, 1, 8)])
def test_parameters_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    x, w = torch.randn(2, 8), torch.ones(shape)
    for call in (lambda: F.layer_norm(x, (8,), w), lambda: F.crms_norm(x, w), lambda: F.group_norm(x, 2, w)):
        with pytest.raises(ValueError, match="weight must"):
            call()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_gradients_of_pairs_stay_finite(dtype: torch.dtype) -> None:
    x = torch.zeros(2, 4096, dtype=dtype)
    x[1] = -torch.inf
    x.requires_grad_()
    (F.softmax_pair(x)[0] * 2e5).sum().backward()
    assert x.grad.isfinite().all()
    assert (x.grad[1] == 0).all()
    assert (x.grad[0] > 0).all()
