"""evonorm_b0: its equation, its running variance, and what it refuses."""

import pytest
import torch
from torch import Tensor

from normkit.functional import evonorm_b0
from normkit.kernels import native

KERNELS = [None, *(["native"] if native.AVAILABLE else []), "torch", "reference"]


def parameters(channels: int) -> tuple[Tensor, Tensor, Tensor]:
    weight, bias, v = torch.randn(3, channels, generator=torch.Generator().manual_seed(1))
    return weight, bias, v


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("training", [True, False])
def test_is_the_larger_of_two_denominators(kernel: str | None, training: bool) -> None:
    x, (weight, bias, v) = torch.randn(3, 4, 5, 5), parameters(4)
    running_var = torch.rand(4) + 0.5
    before = running_var.clone()
    y = evonorm_b0(x, weight, bias, v, running_var, training, 0.3, 1e-2, kernel=kernel)
    batch = x.var((0, 2, 3), correction=0) if training else before
    column = (4, 1, 1)
    left = v.view(column) * x + (x.var((2, 3), correction=0, keepdim=True) + 1e-2).sqrt()
    larger = torch.maximum((batch + 1e-2).sqrt().view(column), left)
    torch.testing.assert_close(y, x / larger * weight.view(column) + bias.view(column), rtol=1e-5, atol=1e-5)
    moved = 0.7 * before + 0.3 * x.var((0, 2, 3)) if training else before
    torch.testing.assert_close(running_var, moved)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_nan_of_one_sample_reaches_its_channel_in_training_only(kernel: str | None) -> None:
    x = torch.randn(3, 2, 4, 4)
    x[1, 0, 2, 2] = torch.nan
    for training in (True, False):
        y = evonorm_b0(x, *parameters(2), torch.ones(2), training, kernel=kernel)
        nan = y.isnan().flatten(2).all(2)
        assert nan[:, 0].tolist() == [training, True, training]
        assert not y[:, 1].isnan().any()


@pytest.mark.parametrize("kernel", KERNELS)
def test_momentum_0_leaves_the_running_variance(kernel: str | None) -> None:
    running_var = torch.full((2,), 3.0)
    evonorm_b0(torch.randn(3, 2, 4), *parameters(2), running_var, True, 0.0, kernel=kernel)
    assert running_var.tolist() == [3.0, 3.0]


def test_refusals() -> None:
    x, (weight, bias, v), ones = torch.randn(2, 4, 3, 3), parameters(4), torch.ones(4)
    with pytest.raises(ValueError, match="needs more than one value a channel in training"):
        evonorm_b0(x[:1, :, :1, :1], weight, bias, v, ones, True)
    with pytest.raises(ValueError, match="running_var must hold one value for each of the 4 channels"):
        evonorm_b0(x, weight, bias, v, ones[:2], True)
    with pytest.raises(ValueError, match="eps must be at least 0"):
        evonorm_b0(x, weight, bias, v, ones, True, eps=-1.0)
