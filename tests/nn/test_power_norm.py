"""PowerNorm: whose statistics it uses when, how often they move, its guard, and what it refuses."""

import copy
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.utils.checkpoint import checkpoint

from normkit.nn import PowerNorm


def layer(**options: object) -> PowerNorm:
    return PowerNorm(4, dtype=torch.float64, **options)


def batch(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, 5, 4, generator=generator, dtype=torch.float64).requires_grad_()


def test_evaluation_uses_the_running_quadratic_mean_and_moves_nothing() -> None:
    norm = layer(group_num=0).eval()
    norm.running_phi.fill_(3.0)
    before = copy.deepcopy(norm.state_dict())
    y = norm(batch(), torch.zeros(3, 5, dtype=torch.bool))
    torch.testing.assert_close(y, batch() / (3.0 + 1e-5) ** 0.5)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


def test_a_channel_axis_elsewhere() -> None:
    last, second = layer(), layer(channel_dim=1)
    torch.testing.assert_close(second(batch().transpose(1, 2)), last(batch()).transpose(1, 2))
    torch.testing.assert_close(second.running_phi, last.running_phi)


def test_activation_checkpointing_is_a_second_step() -> None:
    """Said in the docstring: φ and iters move once per call, `ema_gz` once per backward pass."""
    once, twice = layer(), layer()
    once(batch()).sum().backward()
    checkpoint(twice, batch(), use_reentrant=False).sum().backward()
    assert (int(once.iters), int(twice.iters)) == (1, 2)
    torch.testing.assert_close(once.ema_gz, twice.ema_gz)


def test_gradient_accumulation_counts_every_part() -> None:
    norm = layer()
    for part in batch().split(1):
        norm(part).sum().backward()
    assert int(norm.iters) == 3


def test_a_second_backward_pass_moves_ema_gz_again() -> None:
    norm, x = layer(group_num=0), batch()
    y = norm(x)
    y.sum().backward(retain_graph=True)
    first = norm.ema_gz.clone()
    y.sum().backward()
    hat = y.detach()
    torch.testing.assert_close(norm.ema_gz, first + ((1 - 0.1 * first * hat) * hat).mean((0, 1)))


def test_two_calls_before_the_backward_pass() -> None:
    norm = layer(warmup_iters=1)
    (norm(batch()).square().sum() + norm(batch(1)).square().sum()).backward()
    assert bool(norm.ema_gz.isfinite().all())
    assert int(norm.iters) == 2


def test_a_second_derivative_is_refused() -> None:
    x = batch()
    (gradient,) = torch.autograd.grad(layer()(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_checkpoints_in_the_authors_shapes() -> None:
    ours, theirs = layer(), layer()
    theirs(batch()).sum().backward()
    wanted = theirs.state_dict()
    published = {
        **wanted,
        "running_phi": wanted["running_phi"].view(1, 4, 1, 1),
        "ema_gz": wanted["ema_gz"].view(1, 4, 1, 1),
        "iters": wanted["iters"].view(1),
    }
    ours.load_state_dict(published)
    for name, value in ours.state_dict().items():
        assert torch.equal(value, wanted[name])
    with pytest.raises(RuntimeError, match="size mismatch for running_phi"):
        PowerNorm(5).load_state_dict(published)


@pytest.mark.parametrize("statistic", ["ema_gz", "running_phi"])
def test_a_statistic_that_is_not_finite_is_named_with_its_layer(statistic: str) -> None:
    model = torch.nn.ModuleDict({"blocks": torch.nn.ModuleList([torch.nn.Identity(), torch.nn.Sequential(layer())])})
    norm = model["blocks"][1][0]
    norm(batch()).sum().backward()
    getattr(norm, statistic)[2] = torch.nan
    with pytest.raises(
        FloatingPointError, match=rf"PowerNorm blocks\.1\.0: {statistic} is not finite after 1 training"
    ):
        norm(batch())
    norm.eval()(batch())  # evaluation shows what there is


def test_an_infinite_gradient_moves_nothing() -> None:
    """A gradient scaler then leaves the step out, and goes on with a smaller scale."""
    norm, x = layer(), batch()
    norm(x).backward(torch.ones_like(x))
    before = norm.ema_gz.clone()
    norm(x).backward(torch.full_like(x, torch.inf))
    assert torch.equal(norm.ema_gz, before)
    norm(x).backward(torch.ones_like(x))
    assert not torch.equal(norm.ema_gz, before)


def test_the_guard_looks_seldom_where_looking_synchronizes(monkeypatch: pytest.MonkeyPatch) -> None:
    norm = layer()
    norm.running_phi[0] = torch.nan
    monkeypatch.setattr(torch.Tensor, "is_cpu", property(lambda tensor: False))
    for _ in range(63):
        norm(batch())
    with pytest.raises(FloatingPointError, match="running_phi is not finite"):
        norm(batch())


def test_one_position_without_layer_scale_warns() -> None:
    with pytest.warns(UserWarning, match=r"one position \(input \(1, 4\)\) without layer scale"):
        layer(group_num=0)(torch.randn(1, 4, dtype=torch.float64))


def test_it_is_an_affine_map_in_evaluation_where_layer_scale_is_off() -> None:
    norm = layer(group_num=0)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    norm(batch())
    scale, shift = norm.scale_and_shift()
    torch.testing.assert_close(norm.eval()(batch()), scale * batch() + shift)
    plain = layer(group_num=0, affine=False).eval()
    assert torch.equal(plain.scale_and_shift()[1], torch.zeros(4, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"with layer scale \(group_num=2\).*only group_num=0 is"):
        layer(group_num=2).scale_and_shift()


def test_a_process_group_of_its_own_goes_along_with_a_copy(tmp_path: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        norm = PowerNorm(4, process_group=dist.new_group([0]))
        twin = copy.deepcopy(norm)
        assert twin.process_group is norm.process_group
        assert twin.running_phi is not norm.running_phi
    finally:
        dist.destroy_process_group()


REFUSED = [
    ("4 channels cannot be cut into 3 groups; what fits is 1, 2, 4", {"group_num": 3}),
    (r"alpha_fwd must lie in \[0, 1\), got 1.0", {"alpha_fwd": 1.0}),
    (r"alpha_bwd must lie in \[0, 1\), got -1.0", {"alpha_bwd": -1.0}),
    ("variant is 'pn' or 'pn-v', not 'v'", {"variant": "v"}),
    ("backward_scale is 'batch' or 'running', not 'none'", {"backward_scale": "none"}),
    ("warmup_iters must be at least 0, got -1", {"warmup_iters": -1}),
    ("eps must be at least 0, got -1", {"eps": -1.0}),
]


@pytest.mark.parametrize(("message", "options"), REFUSED, ids=[next(iter(options)) for _, options in REFUSED])
def test_options_that_are_refused(message: str, options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=message):
        layer(**options)


def test_calls_that_are_refused() -> None:
    with pytest.raises(ValueError, match=r"made for 4 channels on axis -1, got an input of shape \(3, 5\)"):
        layer()(torch.randn(3, 5))
    with pytest.raises(ValueError, match=r"made for 4 channels on axis 1, got an input of shape \(4,\)"):
        layer(channel_dim=1)(torch.randn(4))
    with pytest.raises(ValueError, match="masks every position"):
        layer()(batch(), torch.ones(3, 5, dtype=torch.bool))
    with pytest.raises(TypeError, match=r"must be boolean.*torch.int64"):
        layer()(batch(), torch.zeros(3, 5, dtype=torch.int64))
