"""EstBatchNorm2d: how the estimates move, at which speed, and what it refuses."""

import pytest
import torch

from normkit.nn import BatchChannelNorm2d, EstBatchNorm2d, set_estimate_speed


def test_estimates_move_before_they_are_used_and_by_the_old_mean() -> None:
    layer, x = EstBatchNorm2d(3, speed=0.25, dtype=torch.float64), torch.randn(2, 3, 4, 4, dtype=torch.float64) + 2
    layer.running_mean.fill_(0.5)
    y = layer(x)
    mean = 0.75 * 0.5 + 0.25 * x.mean((0, 2, 3))
    variance = 0.75 * 1 + 0.25 * ((x - 0.5) ** 2).mean((0, 2, 3))
    torch.testing.assert_close(layer.running_mean, mean)
    torch.testing.assert_close(layer.running_var, variance)
    torch.testing.assert_close(y, (x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt())


def test_estimates_are_constants_to_the_gradient() -> None:
    layer, x = EstBatchNorm2d(3, speed=0.5), torch.randn(2, 3, 4, 4, requires_grad=True)
    torch.nn.init.normal_(layer.weight)
    upstream = torch.randn(x.shape)
    (gradient,) = torch.autograd.grad(layer(x), x, upstream)
    scale = layer.weight / (layer.running_var + 1e-5).sqrt()
    torch.testing.assert_close(gradient, upstream * scale[:, None, None])


def test_two_forward_passes_before_the_backward_pass() -> None:
    layer, x = EstBatchNorm2d(3), torch.randn(2, 3, 4, 4, requires_grad=True)
    first, second = layer(x), layer(2 * x)
    (first.sum() + second.sum()).backward()
    assert bool(x.grad.isfinite().all())


@pytest.mark.parametrize(("batch", "speed"), [(1, 0.02), (2, 0.04), (5, 0.1), (32, 0.1)])
def test_speed_follows_the_batch_size(batch: int, speed: float) -> None:
    layer, x = EstBatchNorm2d(2), torch.randn(batch, 2, 3, 3)
    layer(x)
    torch.testing.assert_close(layer.running_mean, speed * x.mean((0, 2, 3)))


def test_a_schedule_sets_the_speed_of_every_layer_and_checkpoints_carry_it() -> None:
    model = torch.nn.Sequential(EstBatchNorm2d(4), BatchChannelNorm2d(4, 2))
    set_estimate_speed(model, 0.01)
    assert model[0].speed == model[1].bn.speed == 0.01
    fresh = torch.nn.Sequential(EstBatchNorm2d(4), BatchChannelNorm2d(4, 2))
    fresh.load_state_dict(model.state_dict())
    assert fresh[0].speed == pytest.approx(0.01)
    set_estimate_speed(fresh, None)
    assert fresh[0].speed is None
    with pytest.raises(ValueError, match="Linear has no EstBatchNorm2d"):
        set_estimate_speed(torch.nn.Linear(2, 2), 0.1)


def test_a_checkpoint_whose_speed_was_never_set_leaves_the_layer_its_own() -> None:
    published = EstBatchNorm2d(4).state_dict()  # estbn_moving_speed is 0, as in the authors' code before training
    assert published["estbn_moving_speed"].tolist() == [0.0]
    for speed in (None, 0.2):
        layer = EstBatchNorm2d(4, speed)
        layer.load_state_dict(published)
        assert layer.speed == speed


def test_debias_is_near_the_data_from_the_first_step() -> None:
    x = torch.randn(8, 2, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 + 50
    plain, debiased = EstBatchNorm2d(2, 0.02), EstBatchNorm2d(2, 0.02, debias=True)
    for batch in x.split(2):
        plain(batch)
        debiased(batch)
    torch.testing.assert_close(debiased.running_mean, x.mean((0, 2, 3)), rtol=1e-3, atol=0)
    torch.testing.assert_close(debiased.running_var, x.var((0, 2, 3)), rtol=0.1, atol=0)
    assert bool((plain.running_var > 10 * x.var((0, 2, 3))).all())  # what the option is for


def test_statistics_keep_moving_in_a_network_cast_to_half() -> None:
    layer = EstBatchNorm2d(2, 0.002).to(torch.bfloat16)
    for _ in range(300):
        layer(torch.ones(1, 2, 2, 2, dtype=torch.bfloat16))
    torch.testing.assert_close(layer.running_mean, torch.full((2,), 1 - 0.998**300))


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"speed must lie in \[0, 1\], got 1.5"):
        EstBatchNorm2d(4, speed=1.5)
    layer = EstBatchNorm2d(4, speed=0.0)
    with pytest.raises(ValueError, match="speed is 0, so the estimates would never move"):
        layer(torch.randn(2, 4, 3, 3))
    assert layer.eval()(torch.randn(2, 4, 3, 3)).shape == (2, 4, 3, 3)
    layer.train().speed = 0.1
    layer(torch.randn(2, 4, 3, 3))
    with pytest.raises(ValueError, match="made for 4 channels"):
        layer(torch.randn(2, 5, 3, 3))
