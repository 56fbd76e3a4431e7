"""UnifiedNorm: its windows, its filter, padding, and what its state does in the ways that a network is trained."""

import copy

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.utils.checkpoint import checkpoint

from normkit.nn import UnifiedNorm, reset_warmup
from tests.contract.test_layers import annotations_unchecked  # noqa: F401 - a fixture


def layer_of(channels: int = 4, **options: object) -> UnifiedNorm:
    return UnifiedNorm(channels, **{"warmup_iters": 0, "dtype": torch.float64, **options})


def batch(seed: int, scale: float = 1.0, channels: int = 4) -> Tensor:
    return scale * torch.randn(3, 5, channels, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def states(layer: UnifiedNorm) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in layer.named_buffers()}


def train(layer: UnifiedNorm, *batches: Tensor) -> None:
    for x in batches:
        layer(x.requires_grad_()).square().sum().backward()


def test_the_window_is_smoothed_by_a_geometric_mean() -> None:
    layer = layer_of(window_size=3)
    squares = []
    for step in range(5):
        x = batch(step, scale=step + 1.0)
        squares.append(x.square().mean((0, 1)))
        y = layer(x)
        last = torch.stack(squares[-3:])
        variance = last[-1] if step < 3 else last.log().mean(0).exp()
        torch.testing.assert_close(y, x / (variance + layer.eps).sqrt())


def test_without_a_window_the_gradient_is_exact() -> None:
    x, gain, shift = batch(0), torch.rand(4).double() + 0.5, torch.rand(4).double()

    def function(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        layer = layer_of(window_size=1)
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))

    inputs = [each.requires_grad_() for each in (x, gain, shift)]
    assert gradcheck(function, inputs, nondet_tol=0.0)


def test_an_outlier_is_skipped_with_the_filter_only() -> None:
    filtering, plain = layer_of(outlier_filtration=True), layer_of()
    calm = [batch(seed) for seed in range(8)]
    for layer in (filtering, plain):
        train(layer, *calm)
    skipped, before = int(filtering.skip_counter), states(filtering)
    spike = batch(9, scale=50.0)
    train(filtering, spike)
    train(plain, spike.detach())
    assert int(filtering.skip_counter) == skipped + 1
    assert int(plain.skip_counter) == 0
    row = int(filtering.iters) % 4
    assert torch.equal(filtering.buffer_x2[row], before["running_var"])
    assert torch.equal(filtering.buffer_gz[row], before["ema_gz"])
    square = spike.detach().square().mean((0, 1))
    torch.testing.assert_close(plain.buffer_x2[row], square)
    torch.testing.assert_close(filtering.running_var, 0.9 * before["running_var"] + 0.1 * square)  # the authors' rule


def test_the_filter_waits_for_a_full_window() -> None:
    """Rows that were never written are zeros, whose geometric mean would make an outlier of anything."""
    layer = layer_of(outlier_filtration=True)
    train(layer, *(batch(seed) for seed in range(4)))
    assert int(layer.skip_counter) == 0


def test_padding_does_not_count() -> None:
    x, mask = batch(0), torch.zeros(3, 5, dtype=torch.bool)
    mask[1:, 3:] = True
    loud = x.masked_fill(mask.unsqueeze(-1), torch.nan)
    quiet, masked = layer_of(), layer_of()
    masked(loud, mask)
    quiet(x[~mask])
    torch.testing.assert_close(masked.buffer_x2, quiet.buffer_x2)
    assert not torch.equal(layer_of()(x, mask), layer_of()(x))


def test_evaluation_is_a_scale_and_a_shift() -> None:
    layer = layer_of()
    train(layer, *(batch(seed) for seed in range(6)))
    with torch.no_grad():
        layer.weight.mul_(1.7)
        layer.bias.add_(0.3)
    scale, shift = layer.scale_and_shift()
    x = batch(7)
    torch.testing.assert_close(layer.eval()(x), x * scale + shift)


def test_a_silent_channel_gives_no_nan() -> None:
    layer = layer_of()
    for step in range(12):
        x = batch(step)
        if 4 <= step < 10:
            x[..., 0] = 0
        y = layer(x.requires_grad_())
        y.square().sum().backward()
        assert y.isfinite().all()
        assert x.grad is not None
        assert x.grad.isfinite().all()
    assert all(value.isfinite().all() for value in states(layer).values())


def test_an_overflowing_gradient_does_not_stay_in_the_state() -> None:
    """As under a gradient scaler, which leaves such a step out and goes on with a smaller scale."""
    layer = layer_of()
    train(layer, *(batch(seed) for seed in range(5)))
    before = states(layer)
    x = batch(6).requires_grad_()
    layer(x).backward(torch.full_like(x, torch.inf))
    assert x.grad is not None
    assert not x.grad.isfinite().any()
    assert torch.equal(layer.ema_gz, before["ema_gz"])
    assert layer.buffer_gz.isfinite().all()


def test_an_infinite_input_is_not_divided_away() -> None:
    layer, x = layer_of(), batch(0)
    x[0, 0, 0] = torch.inf
    assert layer(x)[..., 0].isnan().all()
    assert layer.eval()(batch(1))[..., 0].isnan().all()


def test_two_forward_passes_before_their_backward_passes() -> None:
    """Each backward pass belongs to its own step: its row, its statistics."""
    layer, twin = layer_of(window_size=2), layer_of(window_size=2)
    first, second = batch(0).requires_grad_(), batch(1).requires_grad_()
    y, z = layer(first), layer(second)
    y.square().sum().backward()
    z.square().sum().backward()
    train(twin, first.detach().clone(), second.detach().clone())
    for name, value in states(twin).items():
        torch.testing.assert_close(getattr(layer, name), value, msg=name)


def test_activation_checkpointing_counts_two_steps() -> None:
    layer, x = layer_of(), batch(0).requires_grad_()
    y = checkpoint(layer, x, use_reentrant=False)
    assert isinstance(y, Tensor)
    y.sum().backward()
    assert int(layer.iters) == 2


def test_every_micro_batch_is_a_step() -> None:
    layer = layer_of()
    train(layer, batch(0), batch(1))
    assert int(layer.iters) == 2


@pytest.mark.usefixtures("annotations_unchecked")
def test_compiled_training_is_the_same_for_many_steps() -> None:
    """Also where the running statistic has its say in the gradient, and for a batch that is skipped."""
    eager = layer_of(window_size=(3, 2), outlier_filtration=True)
    eager.iters.fill_(2000)
    eager.buffer_x2.copy_(torch.linspace(1, 9, 12).reshape(3, 4))
    other = copy.deepcopy(eager)
    torch.compiler.reset()
    compiled = torch.compile(other, fullgraph=True, backend="aot_eager")
    for step in range(6):
        grads = []
        for layer in (eager, compiled):
            x = batch(step, scale=30.0 if step == 4 else 2.0).requires_grad_()
            layer(x).square().sum().backward()
            grads.append(x.grad)
        torch.testing.assert_close(*grads)
    assert 0 < int(eager.skip_counter) < 6
    for name, value in states(eager).items():
        torch.testing.assert_close(getattr(other, name), value, msg=name)


def test_half_precision_keeps_its_statistics_wide() -> None:
    layer = UnifiedNorm(4, warmup_iters=0, dtype=torch.float16)
    x = (batch(0) * 600).half()  # x² is beyond float16
    y = layer(x.requires_grad_())
    y.sum().backward()
    assert y.dtype == torch.float16
    assert x.grad is not None
    assert x.grad.dtype == torch.float16
    torch.testing.assert_close(layer.buffer_x2[1], x.detach().float().square().mean((0, 1)))


def test_the_authors_checkpoints_load() -> None:
    layer = layer_of()
    theirs = layer.state_dict() | {"iters": torch.tensor([7]), "skip_counter": torch.tensor([2])}
    net = torch.nn.Sequential(layer)
    net.load_state_dict({f"0.{name}": value for name, value in theirs.items()})
    assert (int(layer.iters), int(layer.skip_counter)) == (7, 2)
    assert layer.iters.shape == ()


def test_reset_warmup() -> None:
    net = torch.nn.Sequential(layer_of(), torch.nn.Linear(4, 4).double(), layer_of())
    net(batch(0))
    before = states(net[0])
    reset_warmup(net)
    assert [int(net[index].iters) for index in (0, 2)] == [0, 0]
    assert torch.equal(net[0].running_var, before["running_var"])
    with pytest.raises(ValueError, match="Linear has no UnifiedNorm"):
        reset_warmup(torch.nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window_size": 0}, "window_size must be at least 1 step, got 0"),
        ({"window_size": (4, 0)}, r"at least 1 step, got \(4, 0\)"),
        ({"momentum": 1.0}, "momentum must lie between 0 and 1 .*old value.*, got 1.0"),
        ({"momentum": 0.0}, "got 0.0"),
        ({"warmup_iters": -1}, "warmup_iters must be at least 0, got -1"),
        ({"eps": -1e-5}, "eps must be at least 0"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UnifiedNorm(4, **options)


def test_masks_that_do_not_fit_are_refused() -> None:
    layer, x = layer_of(), batch(0)
    with pytest.raises(TypeError, match=r"pad_mask must be boolean \(True at padding\), got torch.int64"):
        layer(x, torch.zeros(3, 5, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"one value a position, \(3, 5\), got the shape \(5, 3\)"):
        layer(x, torch.zeros(5, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="masks every position"):
        layer(x, torch.ones(3, 5, dtype=torch.bool))
    assert int(layer.iters) == 0
    layer.eval()(x, torch.ones(3, 5, dtype=torch.bool))  # no statistic is taken
