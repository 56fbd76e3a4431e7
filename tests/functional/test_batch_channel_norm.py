"""batch_channel_norm: torch's two normalisations one after the other, its running statistics, and what it refuses."""

from typing import Any

import pytest
import torch
import torch.nn.functional as torchs
from torch import Tensor

from normkit.functional import batch_channel_norm
from normkit.kernels import native

KERNELS = [None, *(["native"] if native.AVAILABLE else []), "torch", "reference"]
CHANNELS, GROUPS = 6, 3


def statistics() -> tuple[Tensor, Tensor]:
    mean, spread = torch.randn(2, CHANNELS, generator=torch.Generator().manual_seed(1))
    return mean, spread.exp()


def affine() -> tuple[Tensor, Tensor, int, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(2)
    gamma, beta = torch.randn(2, CHANNELS, generator=draw)
    weight, bias = torch.randn(2, 1, GROUPS, 1, generator=draw)
    return gamma, beta, GROUPS, weight, bias


def two_norms(x: Tensor, mean: Tensor, var: Tensor, training: bool, momentum: float = 0.1) -> Tensor:
    gamma, beta, groups, weight, bias = affine()
    normed = torchs.batch_norm(x, mean, var, gamma, beta, training, momentum)
    gain, shift = (each.flatten().repeat_interleave(CHANNELS // GROUPS) for each in (weight, bias))
    return torchs.group_norm(normed, groups, gain, shift)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("training", [True, False])
def test_batch_style_is_batch_norm_then_group_norm(kernel: str | None, training: bool) -> None:
    x, ours, theirs = torch.randn(4, CHANNELS, 5, 5), statistics(), statistics()
    y = batch_channel_norm(x, *ours, *affine(), training, "batch", 0.3, kernel=kernel)
    torch.testing.assert_close(y, two_norms(x, *theirs, training, 0.3), rtol=1e-5, atol=1e-5)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("speed", [0.2, torch.tensor([0.2])], ids=["number", "tensor"])
def test_estimate_style_moves_its_estimates_and_then_uses_them(kernel: str | None, speed: Any) -> None:
    x, (mean, var) = torch.randn(4, CHANNELS, 5, 5), statistics()
    wanted_var = 0.8 * var + 0.2 * (x - mean.view(-1, 1, 1)).square().mean((0, 2, 3))
    wanted_mean = 0.8 * mean + 0.2 * x.mean((0, 2, 3))
    y = batch_channel_norm(x, mean, var, *affine(), True, "estimate", speed, kernel=kernel)
    torch.testing.assert_close(mean, wanted_mean)
    torch.testing.assert_close(var, wanted_var)
    torch.testing.assert_close(y, two_norms(x, wanted_mean, wanted_var, False), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kernel", KERNELS)
def test_estimates_are_constants_to_the_gradient(kernel: str | None) -> None:
    x, (mean, var) = torch.randn(4, CHANNELS, 5, 5, requires_grad=True), statistics()
    direction = torch.randn(x.shape)
    y = batch_channel_norm(x, mean, var, *affine(), True, "estimate", 0.2, kernel=kernel)
    (ours,) = torch.autograd.grad(y, x, direction)
    (wanted,) = torch.autograd.grad(two_norms(x, mean, var, False), x, direction)
    torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_later_batch_does_not_disturb_an_earlier_gradient(kernel: str | None) -> None:
    x, (mean, var) = torch.randn(4, CHANNELS, 5, 5, requires_grad=True), statistics()
    direction = torch.randn(x.shape)
    y = batch_channel_norm(x, mean, var, *affine(), True, kernel=kernel)
    (wanted,) = torch.autograd.grad(y, x, direction, retain_graph=True)
    batch_channel_norm(5 + x.detach(), mean, var, *affine(), True, kernel=kernel)
    (again,) = torch.autograd.grad(y, x, direction)
    assert torch.equal(again, wanted)


@pytest.mark.parametrize("kernel", KERNELS)
def test_nan_in_a_batch_shows_in_the_statistics(kernel: str | None) -> None:
    x, (mean, var) = torch.randn(4, CHANNELS, 5, 5), statistics()
    x[2, 1, 0, 0] = torch.nan
    batch_channel_norm(x, mean, var, *affine(), True, kernel=kernel)
    assert mean.isnan().tolist() == var.isnan().tolist() == [channel == 1 for channel in range(CHANNELS)]


@pytest.mark.filterwarnings("ignore:var_mean")
def test_an_empty_batch_moves_nothing() -> None:
    (mean, var), before = statistics(), statistics()
    y = batch_channel_norm(torch.empty(0, CHANNELS, 5, 5), mean, var, *affine(), True, "estimate")
    assert y.shape == (0, CHANNELS, 5, 5)
    assert torch.equal(mean, before[0])
    assert torch.equal(var, before[1])


def test_refusals() -> None:
    x, (gamma, beta, _, weight, bias) = torch.randn(2, CHANNELS, 3, 3), affine()
    with pytest.raises(ValueError, match="6 channels cannot be cut into 4 groups"):
        batch_channel_norm(x, *statistics(), gamma, beta, 4, weight, bias)
    with pytest.raises(ValueError, match="style is 'estimate' or 'batch', not 'both'"):
        batch_channel_norm(x, *statistics(), *affine(), style="both")
    with pytest.raises(ValueError, match=r"weight must be \(1, 3, 1\), got the shape \(3,\)"):
        batch_channel_norm(x, *statistics(), gamma, beta, 3, weight.flatten(), bias)
    with pytest.raises(ValueError, match="needs more than one value a channel in training"):
        batch_channel_norm(x[:1, :, :1, :1], *statistics(), *affine(), True, "batch")
