"""EvoNorm-B0: two variances, a running one, and what it refuses."""

import copy

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from normkit.nn import EvoNorm2dB0


def test_training_takes_the_batch_and_evaluation_the_running_variance() -> None:
    layer, x = EvoNorm2dB0(4, momentum=1.0), torch.randn(16, 4, 8, 8) * 3 + 1
    trained = layer(x)
    torch.testing.assert_close(layer.running_var, x.var((0, 2, 3)), rtol=1e-5, atol=0)
    n = x.numel() / 4
    torch.testing.assert_close(layer.eval()(x), trained, rtol=2 / n, atol=1e-5)


def test_without_activation_it_is_affine_and_keeps_no_statistics() -> None:
    layer, x = EvoNorm2dB0(4, apply_act=False), torch.randn(3, 4, 2, 2)
    assert torch.equal(layer(x), x)
    assert torch.equal(layer.running_var, torch.ones(4))
    assert "v" not in layer.state_dict()


def test_activation_checkpointing_moves_the_running_variance_twice() -> None:
    """Said in the docstring: it moves once per call."""
    layer, x = EvoNorm2dB0(4), torch.randn(3, 4, 5, 5, requires_grad=True)
    once, twice = copy.deepcopy(layer), copy.deepcopy(layer)
    once(x).sum().backward()
    checkpoint(twice, x, use_reentrant=False).sum().backward()
    step = once.running_var - 1
    torch.testing.assert_close(twice.running_var - 1, step * (1 + 0.9), rtol=1e-5, atol=1e-7)


def test_very_negative_inputs_stay_finite_in_half_precision() -> None:
    x = torch.full((2, 4, 4, 4), -500.0, dtype=torch.float16)  # v x + std < 0, and the batch has no variance
    y = EvoNorm2dB0(4, dtype=torch.float16)(x)
    torch.testing.assert_close(y, torch.full_like(y, -500 / 1e-3**0.5), rtol=1e-3, atol=0)


def test_refusals() -> None:
    layer = EvoNorm2dB0(4)
    with pytest.raises(ValueError, match=r"more than one value a channel in training.*\(1, 4, 1, 1\)"):
        layer(torch.randn(1, 4, 1, 1))
    with pytest.raises(ValueError, match=r"more than one value a channel in training, over all ranks.*\(1, 4, 1, 1\)"):
        EvoNorm2dB0(4, sync=True)(torch.randn(1, 4, 1, 1))
    assert layer.eval()(torch.randn(1, 4, 1, 1)).shape == (1, 4, 1, 1)
    with pytest.raises(ValueError, match=r"must be \(batch, channels, height, width\)"):
        layer(torch.randn(4, 3, 3))
    with pytest.raises(ValueError, match=r"momentum must lie in \[0, 1\], got 1.5"):
        EvoNorm2dB0(4, momentum=1.5)
