"""evonorm_s0: its equation, what does not matter to it, and what it refuses."""

import pytest
import torch
from torch import Tensor

from normkit.functional import evonorm_s0
from normkit.kernels import native

KERNELS = [None, *(["native"] if native.AVAILABLE else []), "torch", "reference"]


def parameters(channels: int) -> tuple[Tensor, Tensor, Tensor]:
    weight, bias, v = torch.randn(3, channels, generator=torch.Generator().manual_seed(1))
    return weight, bias, v


@pytest.mark.parametrize("kernel", KERNELS)
def test_with_an_enormous_slope_it_is_relu_over_the_deviation(kernel: str | None) -> None:
    x, one = torch.randn(2, 4, 6, 6), torch.ones(4)
    y = evonorm_s0(x, one, torch.zeros(4), 1e6 * one, 2, 0.0, kernel=kernel)
    deviation = x.reshape(2, 2, -1).std(-1, correction=0).repeat_interleave(2, 1)[..., None, None]
    torch.testing.assert_close(y, torch.relu(x) / deviation, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
def test_samples_do_not_see_each_other(kernel: str | None) -> None:
    x = torch.randn(3, 4, 5, 5)
    y = evonorm_s0(x, *parameters(4), 2, kernel=kernel)
    for sample in range(3):
        alone = evonorm_s0(x[sample : sample + 1], *parameters(4), 2, kernel=kernel)
        torch.testing.assert_close(alone, y[sample : sample + 1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
def test_large_arguments_of_the_sigmoid_do_not_overflow(kernel: str | None) -> None:
    x = torch.tensor([-1e4, -300.0, -90.0, 0.0, 90.0, 300.0, 1e4]).reshape(1, 1, 7)
    one = torch.ones(1)
    y = evonorm_s0(x, one, 0 * one, one, 1, kernel=kernel)
    assert y.isfinite().all()
    torch.testing.assert_close(y[0, 0, :4], torch.zeros(4), rtol=0, atol=1e-30)


def test_without_slope_it_is_affine() -> None:
    x, (weight, bias, _) = torch.randn(2, 4, 3, 3), parameters(4)
    y = evonorm_s0(x, weight, bias, None, 2)
    torch.testing.assert_close(y, x * weight[:, None, None] + bias[:, None, None])


def test_refusals() -> None:
    x, (weight, bias, v) = torch.randn(2, 6, 3, 3), parameters(6)
    with pytest.raises(ValueError, match="6 channels cannot be cut into 4 groups; what fits is 1, 2, 3, 6"):
        evonorm_s0(x, weight, bias, v, 4)
    with pytest.raises(ValueError, match="v must hold one value for each of the 6 channels"):
        evonorm_s0(x, weight, bias, v[:3], 2)
    with pytest.raises(ValueError, match=r"input must be \(batch, channels, \*space\), got the shape \(2, 6\)"):
        evonorm_s0(x[..., 0, 0], weight, bias, v, 2)
    with pytest.raises(ValueError, match="eps must be at least 0"):
        evonorm_s0(x, weight, bias, v, 2, -1.0)
