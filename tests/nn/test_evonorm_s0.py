"""EvoNorm-S0: blind to the batch, light in memory, its gradient by hand, and what it refuses."""

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from normkit.kernels.evonorm import evonorm_s0
from normkit.kernels.reference import evonorm as reference
from normkit.nn import EvoNorm2dS0


def test_a_sample_does_not_see_the_others() -> None:
    layer, x = EvoNorm2dS0(8, groups=4), torch.randn(5, 8, 6, 6)
    torch.testing.assert_close(torch.cat([layer(sample[None]) for sample in x]), layer(x), rtol=0, atol=1e-6)


def test_group_size_is_another_way_to_say_groups() -> None:
    x = torch.randn(2, 8, 3, 3)
    assert EvoNorm2dS0(8, group_size=2).groups == 4
    assert torch.equal(EvoNorm2dS0(8, group_size=2)(x), EvoNorm2dS0(8, groups=4)(x))


@pytest.mark.parametrize("shape", [(2, 6, 5), (1, 6, 1, 1), (2, 6, 3, 2, 2)])
@pytest.mark.parametrize("slope", [0.0, 1.0, -2.0])
def test_gradient_by_hand_is_that_of_the_formula(shape: tuple[int, ...], slope: float) -> None:
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    parameters = [torch.randn(6, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    v = torch.full((6,), slope, dtype=torch.float64, requires_grad=True)
    inputs, upstream = (x, *parameters, v), torch.randn(shape, dtype=torch.float64)
    ours, wanted = (function(*inputs, 3, 1e-5) for function in (evonorm_s0, reference.evonorm_s0))
    torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-12)
    pairs = zip(*(torch.autograd.grad(y, inputs, upstream) for y in (ours, wanted)), strict=True)
    for gradient, exact in pairs:
        torch.testing.assert_close(gradient, exact, rtol=0, atol=1e-9)


def test_keeps_one_tensor_of_the_inputs_size_for_the_backward_pass() -> None:
    layer, x = EvoNorm2dS0(8, groups=4), torch.randn(4, 8, 16, 16, requires_grad=True)
    kept: list[torch.Tensor] = []
    with saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        layer(x)
    assert [tensor.data_ptr() for tensor in kept if tensor.numel() == x.numel()] == [x.data_ptr()]


def test_large_offsets_keep_their_variance_in_half_precision() -> None:
    x = (torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)) + 100).to(torch.bfloat16)
    layer = EvoNorm2dS0(4, groups=2, dtype=torch.bfloat16)
    wide = EvoNorm2dS0(4, groups=2, dtype=torch.float64)
    torch.testing.assert_close(layer(x).double(), wide(x.double()), rtol=8e-3, atol=0)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="6 channels cannot be cut into 4 groups; what fits is 1, 2, 3, 6"):
        EvoNorm2dS0(6, groups=4)
    with pytest.raises(ValueError, match="6 channels cannot be cut into groups of 4; what fits is 1, 2, 3, 6"):
        EvoNorm2dS0(6, group_size=4)
    with pytest.raises(ValueError, match=r"must be \(batch, channels, height, width\), got the shape \(2, 6\)"):
        EvoNorm2dS0(6, groups=2)(torch.randn(2, 6))
    with pytest.raises(ValueError, match="made for 6 channels"):
        EvoNorm2dS0(6, groups=2)(torch.randn(2, 4, 3, 3))
    with pytest.raises(ValueError, match="eps must be at least 0"):
        EvoNorm2dS0(6, groups=2, eps=-1.0)
