"""Power norm and unified norm by the native column kernels, step for step beside their formulas in float64."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from normkit.kernels import disabled, native
from normkit.nn import PowerNorm, UnifiedNorm

pytestmark = pytest.mark.skipif(bool(native.WHY_NOT), reason=native.WHY_NOT or "available")

STEPS = 7
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
def test_every_step_is_that_of_the_formulas(
    name: str, dtype: torch.dtype, pad_mask: Tensor | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("normkit.kernels.unified_norm._BREAK_EVEN", 0)
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
    from normkit.kernels import native_columns

    calls: list[str] = []

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            calls.append(function.__name__)
            return function(*args)

        return call

    for function in ("_columns", "_columns_backward"):
        monkeypatch.setattr(native_columns, function, counted(getattr(native_columns, function)))
    monkeypatch.setattr("normkit.kernels.unified_norm._BREAK_EVEN", 0)
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
