"""unified_norm: what it refuses, and its training step through the function."""

from typing import Any

import pytest
import torch
from torch import Tensor

from normkit.functional import unified_norm


def arguments(channels: int = 3, window: int = 2, dtype: torch.dtype = torch.float64) -> dict[str, Any]:
    return {
        "input": torch.randn(4, 5, channels, dtype=dtype),
        "weight": torch.ones(channels, dtype=dtype),
        "bias": torch.zeros(channels, dtype=dtype),
        "running_var": torch.ones(channels, dtype=torch.promote_types(dtype, torch.float32)),
    }


def state(channels: int = 3, window: int = 2) -> dict[str, Tensor]:
    zero = torch.zeros((), dtype=torch.int64)
    return {
        "ema_gz": torch.zeros(channels, dtype=torch.float64),
        "buffer_x2": torch.zeros(window, channels, dtype=torch.float64),
        "buffer_gz": torch.zeros(window, channels, dtype=torch.float64),
        "iters": zero,
        "skip_counter": zero.clone(),
    }


def test_a_training_step_moves_the_state_it_is_given() -> None:
    given, kept = arguments(), state()
    y = unified_norm(**given, **kept, training=True)
    square = given["input"].square().mean((0, 1))
    torch.testing.assert_close(y, given["input"] / (square + 1e-5).sqrt())
    torch.testing.assert_close(given["running_var"], 0.9 + 0.1 * square)
    torch.testing.assert_close(kept["buffer_x2"][1], square)
    assert int(kept["iters"]) == 1


def test_evaluation_needs_no_state_and_moves_none() -> None:
    given = arguments()
    given["running_var"] = torch.full((3,), 4.0, dtype=torch.float64)
    torch.testing.assert_close(unified_norm(**given, eps=0.0), given["input"] / 2)
    assert torch.equal(given["running_var"], torch.full((3,), 4.0, dtype=torch.float64))


def test_the_first_gradient_is_a_share_of_the_exact_one() -> None:
    """e = (1 − m) q after one step: the projection on z is taken off by that share."""
    given, x, gy = arguments(), torch.randn(4, 5, 3, dtype=torch.float64), torch.randn(4, 5, 3, dtype=torch.float64)
    leaf = x.requires_grad_()
    y = unified_norm(**{**given, "input": leaf}, **state(), training=True, momentum=0.75)
    (gradient,) = torch.autograd.grad(y, leaf, gy)
    root = (x.square().mean((0, 1)) + 1e-5).sqrt()
    z = x / root
    torch.testing.assert_close(gradient, (gy - 0.25 * (gy * z).mean((0, 1)) * z) / root)


def test_one_position_without_a_batch() -> None:
    given = arguments()
    x = torch.tensor([3.0, -2.0, 1.0], dtype=torch.float64)
    y = unified_norm(**{**given, "input": x}, **state(), training=True)
    torch.testing.assert_close(y, x.sign(), rtol=1e-5, atol=0)


def test_sums_over_ranks_are_taken_as_they_come() -> None:
    """Another rank with as many positions, all of them zero."""
    given = arguments()
    other = torch.tensor([0.0, 0.0, 0.0, 20.0], dtype=torch.float64)
    unified_norm(**given, **(kept := state()), training=True, reduce=lambda sums: sums + other)
    torch.testing.assert_close(kept["buffer_x2"][1], given["input"].square().mean((0, 1)) / 2)


@pytest.mark.parametrize("name", ["weight", "bias", "running_var"])
def test_channels_that_do_not_fit_are_refused(name: str) -> None:
    with pytest.raises(
        ValueError, match=rf"{name} must hold one value for each of the 3 channels .*\(4,\).*\(4, 5, 3\)"
    ):
        unified_norm(**{**arguments(), name: torch.ones(4, dtype=torch.float64)})


def test_windows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"buffer_x2 must hold one value .*\(2, 4\)"):
        unified_norm(**arguments(), **{**state(), "buffer_x2": torch.ones(2, 4, dtype=torch.float64)}, training=True)


def test_training_without_its_state_is_refused() -> None:
    with pytest.raises(ValueError, match="this is missing: ema_gz, buffer_x2, buffer_gz, iters, skip_counter"):
        unified_norm(**arguments(), training=True)


def test_momentum_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="momentum must lie between 0 and 1"):
        unified_norm(**arguments(), momentum=1.5)
