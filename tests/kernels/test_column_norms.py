"""Power norm and unified norm by the native column kernels, step for step beside their formulas in float64."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from normkit.functional.power_norm import POWER_NORM
from normkit.functional.unified_norm import UNIFIED_NORM
from normkit.kernels import disabled, native, native_columns
from normkit.nn import PowerNorm, UnifiedNorm

pytestmark = pytest.mark.skipif(bool(native.WHY_NOT), reason=native.WHY_NOT or "available")

STEPS = 7


def settled(**where: Any) -> UnifiedNorm:
    """A layer of a thousand steps: its gradient is compensated for the running statistic's distance."""
    layer = UnifiedNorm(12, (3, 2), warmup_iters=3, **where)
    layer.iters.fill_(1000)
    layer.buffer_x2.fill_(0.5)
    return layer


TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 3e-3}
LAYERS: dict[str, Callable[..., nn.Module]] = {
    "power": lambda **where: PowerNorm(12, warmup_iters=3, **where),
    "power-groups": lambda **where: PowerNorm(12, warmup_iters=0, group_num=3, alpha_bwd=0.8, **where),
    "power-bare": lambda **where: PowerNorm(12, warmup_iters=2, group_num=0, affine=False, **where),
    "power-running-scale": lambda **where: PowerNorm(12, warmup_iters=2, backward_scale="running", **where),
    "power-v": lambda **where: PowerNorm(12, variant="pn-v", **where),
    "power-v-bare": lambda **where: PowerNorm(12, variant="pn-v", group_num=0, affine=False, **where),
    "unified": lambda **where: UnifiedNorm(12, warmup_iters=3, **where),
    "unified-filter": lambda **where: UnifiedNorm(12, 3, warmup_iters=2, outlier_filtration=True, **where),
    "unified-settled": settled,
    "unified-alone": lambda **where: UnifiedNorm(12, 1, warmup_iters=2, **where),
}


@pytest.fixture(params=[False, True], ids=["plain", "padded"])
def pad_mask(request: pytest.FixtureRequest) -> Tensor | None:
    """Which of the 4 × 5 positions are padding."""
    return torch.arange(20).reshape(4, 5) % 4 == 3 if request.param else None


def trained(layer: nn.Module, dtype: torch.dtype, pad_mask: Tensor | None) -> Iterator[list[Tensor]]:
    """After every step: y, the gradients, the state; at the end the value in evaluation."""
    draw = torch.Generator().manual_seed(1)
    for parameter in layer.parameters():
        parameter.data = torch.randn(12, generator=draw).to(torch.bfloat16).to(parameter.dtype)
    for step in range(STEPS):
        size = 30.0 if step == STEPS - 2 else 1.0
        x = size * torch.randn(4, 5, 12, generator=draw)
        gradient = torch.randn(4, 5, 12, generator=draw)
        # The same numbers for every type.
        leaf, gradient = (each.to(torch.bfloat16).to(dtype) for each in (x, gradient))
        leaf.requires_grad_()
        layer.zero_grad()
        y = layer(leaf, pad_mask)
        y.backward(gradient)
        grads = [leaf.grad, *(each.grad for each in layer.parameters())]
        yield [each.detach().double().clone() for each in (y, *grads, *layer.buffers()) if each is not None]
    layer.eval()
    with torch.no_grad():
        yield [layer(leaf).double()]


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("name", list(LAYERS))
def test_every_step_is_that_of_the_formulas(name: str, dtype: torch.dtype, pad_mask: Tensor | None) -> None:
    with disabled("native"):
        wanted = list(trained(LAYERS[name](dtype=torch.float64), torch.float64, pad_mask))
    found = list(trained(LAYERS[name](dtype=dtype), dtype, pad_mask))
    assert len(found) == STEPS + 1
    for ours, exact in zip(found, wanted, strict=True):
        for own, right in zip(ours, exact, strict=True):
            size = max(1.0, right.abs().max().item())
            assert (own - right).abs().max().item() <= TOLERANCE[dtype] * size


@pytest.mark.parametrize("name", list(LAYERS))
def test_the_kernels_do_compute_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            calls.append(function.__name__)
            return function(*args)

        return call

    for function in ("_columns", "_columns_backward"):
        monkeypatch.setattr(native_columns, function, counted(getattr(native_columns, function)))
    list(trained(LAYERS[name](), torch.float32, None))
    assert calls.count("columns") >= STEPS + 1
    assert calls.count("columns_backward") >= STEPS


def test_an_exact_gradient_can_be_differentiated_again() -> None:
    layer = PowerNorm(6, variant="pn-v", group_num=2)
    x = torch.randn(5, 6, requires_grad=True)
    found = _second_derivative(layer, x)
    with disabled("native"):
        wanted = _second_derivative(PowerNorm(6, variant="pn-v", group_num=2, dtype=torch.float64), x.double())
    torch.testing.assert_close(found.double(), wanted, rtol=1e-3, atol=1e-4)


def _second_derivative(layer: nn.Module, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    (first,) = torch.autograd.grad(layer(x).pow(3).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x)
    return second


@pytest.mark.parametrize("name", [name for name in LAYERS if "v" not in name])
@pytest.mark.parametrize("native_kernels", [True, False], ids=["native", "formulas"])
def test_a_checkpoint_has_the_gradient_of_the_step_that_made_the_value(name: str, native_kernels: bool) -> None:
    """The call is computed again, and the state has moved on; y and its gradient belong together all the same."""
    x = torch.randn(4, 5, 12)
    found = []
    with disabled(*([] if native_kernels else ["native"])):
        for checkpointed in (False, True):
            torch.manual_seed(0)
            layer, leaf = LAYERS[name](), x.clone().requires_grad_()
            for _ in range(5):  # past the warm-up, with a state that the next step will not repeat
                layer(torch.randn(4, 5, 12).requires_grad_()).backward(torch.randn(4, 5, 12))
            y = checkpoint(layer, leaf, use_reentrant=False) if checkpointed else layer(leaf)
            found.append(torch.autograd.grad(y.square().sum(), leaf)[0])
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.parametrize("name", list(LAYERS))
def test_what_follows_may_work_in_place(name: str) -> None:
    net = nn.Sequential(nn.Linear(12, 12), LAYERS[name](), nn.ReLU(inplace=True))
    net(torch.randn(6, 12)).sum().backward()
    assert net[0].weight.grad is not None


@pytest.mark.filterwarnings("ignore:PowerNorm. one position")
@pytest.mark.parametrize("name", list(LAYERS))
def test_one_position_without_further_axes(name: str) -> None:
    x = torch.randn(12)
    with disabled("native"):
        wanted = LAYERS[name](dtype=torch.float64)
        y = wanted(x.double()[None])[0]
        alone = LAYERS[name](dtype=torch.float64)
        torch.testing.assert_close(alone(x.double()), y)
    found = LAYERS[name]()
    torch.testing.assert_close(found(x).double(), y, rtol=1e-5, atol=1e-5)
    for ours, right in zip(found.buffers(), wanted.buffers(), strict=True):
        torch.testing.assert_close(ours.double(), right.double(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", list(LAYERS))
@pytest.mark.parametrize("value", [torch.inf, 1e30])
def test_an_overflow_is_no_silent_zero(name: str, value: float) -> None:
    if "bare" not in name and "power" in name:
        pytest.skip("the layer scale divides by the position's own size first")
    x = torch.randn(6, 12)
    x[2, 3] = value
    assert LAYERS[name]()(x)[:, 3].isnan().all()


def test_what_is_streamed_past_the_cache_is_the_same() -> None:
    from normkit import _native

    x, dy, numbers = torch.randn(70, 96), torch.randn(70, 96), torch.randn(96)
    before = _native.thresholds()["cache_bytes"]

    def computed() -> list[Tensor]:
        y, scales, _ = native_columns.forward(x, numbers, numbers, groups=2, eps=1e-5)
        return [y, native_columns.backward(x, dy, numbers, numbers, scales=scales)[0]]

    cached = computed()
    try:
        _native.set_threshold("cache_bytes", 16)
        streamed = computed()
    finally:
        _native.set_threshold("cache_bytes", before // 16 * 16)
    for one, other in zip(cached, streamed, strict=True):
        assert torch.equal(one, other)


def test_a_call_that_asks_for_nothing_or_lacks_numbers_is_refused() -> None:
    x = torch.randn(3, 4)
    with pytest.raises(ValueError, match="nothing is asked for"):
        native_columns.forward(x)
    with pytest.raises(ValueError, match="dx needs coefficients of dy and of u"):
        native_columns.backward(x, x, torch.ones(4))


@pytest.mark.parametrize(
    ("make", "rows", "training", "ours"),
    [
        (PowerNorm, (1 << 14, 1), True, True),
        (PowerNorm, ((1 << 14) + 1, 1), True, False),
        (PowerNorm, (1 << 10, 1), False, True),
        (PowerNorm, (33, 32, 1), False, False),
        (PowerNorm, ((1 << 14) + 1, 2), True, True),
        (UnifiedNorm, ((1 << 14) + 1, 3), True, False),
        (UnifiedNorm, ((1 << 14) + 1, 4), True, True),
        (UnifiedNorm, ((1 << 14) + 1, 2), False, True),
        (UnifiedNorm, ((1 << 10) + 1, 1), False, False),
    ],
)
def test_many_rows_of_few_channels_are_left_to_torch(
    make: Any, rows: tuple[int, ...], training: bool, ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = []
    kernel = {PowerNorm: POWER_NORM, UnifiedNorm: UNIFIED_NORM}[make].implementations["native"]
    monkeypatch.setitem(vars(kernel), "function", lambda *args: called.append(args) or args[0])  # cached there
    make(rows[-1]).train(training)(torch.randn(rows))
    assert bool(called) is ours


@pytest.mark.parametrize("make", [PowerNorm, UnifiedNorm])
def test_a_layer_goes_on_where_the_other_way_left_it(make: Any) -> None:
    """Batches of many rows and of few in turn give what the formulas give throughout."""
    batches = [torch.randn(rows, 1) for rows in (20_000, 50, 20_000, 50, 50)]
    states = []
    for off in (False, True):
        layer = make(1, warmup_iters=2)
        for x in batches:
            if off:
                with disabled("native"):
                    layer(x).sum().backward()
            else:
                layer(x).sum().backward()
        states.append(layer.state_dict())
    for name, mine in states[0].items():
        torch.testing.assert_close(mine, states[1][name], atol=1e-5, rtol=1e-5)
