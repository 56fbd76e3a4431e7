"""The loops of LSTM, GRU and Elman network by hand: values and gradients in float64, and when they stand back."""

from typing import Any

import pytest
import torch
from torch import Tensor

from normkit import kernels
from normkit.kernels import elman, gru, lstm, native
from normkit.nn import LayerNormGRU, LayerNormLSTM, LayerNormRNN

pytestmark = pytest.mark.skipif(native.norm_rows is None, reason=f"no native kernels: {native.WHY_NOT}")

WIDTHS = (3, 16)
LOOPS = {LayerNormLSTM: lstm, LayerNormGRU: gru, LayerNormRNN: elman}
NORMS = {LayerNormLSTM: "ln_c_l0", LayerNormGRU: "ln_hn_l0", LayerNormRNN: "ln_l0"}
every_layer = pytest.mark.parametrize("make", LOOPS)
Layer = LayerNormLSTM | LayerNormGRU | LayerNormRNN


@pytest.fixture
def walked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The walks that the layers take through the loop."""
    found: list[Any] = []

    def watched(walk: Any) -> Any:
        def seen(how: Any, *args: Any) -> Any:
            found.append(how)
            return walk(how, *args)

        return seen

    for loop in LOOPS.values():
        monkeypatch.setattr(loop, "walk", watched(loop.walk))
    return found


def layers(make: type[Layer], width: int, **options: Any) -> tuple[Layer, Layer]:
    """A layer in float32 and the same in float64."""
    torch.manual_seed(2)
    layer = make(4, width, **options)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    exact = make(4, width, dtype=torch.float64, **options)
    exact.load_state_dict(layer.state_dict())
    return layer, exact


def inputs(make: type[Layer], width: int, directions: int, steps: int = 9) -> list[Tensor]:
    """A sequence and the states before it."""
    x = torch.randn(steps, 3, 4, requires_grad=True)
    count = 2 if make is LayerNormLSTM else 1
    return [x, *(torch.randn(directions, 3, width, requires_grad=True) for _ in range(count))]


def run(layer: Layer, x: Tensor, *states: Tensor) -> list[Tensor]:
    """Output and last states, flat."""
    hx = None if not states else tuple(states) if isinstance(layer, LayerNormLSTM) else states[0]
    output, last = layer(x, hx)
    return [output, *(last if isinstance(last, tuple) else (last,))]


def outcome(layer: Layer, tensors: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Output, last states, and the gradients of a weighted sum of all of them."""
    found = run(layer, *(tensor.to(layer.get_parameter("weight_ih_l0").dtype) for tensor in tensors))
    loss = torch.stack([(y * torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view_as(y)).sum() for y in found]).sum()
    return found, list(torch.autograd.grad(loss, [*tensors, *layer.parameters()], materialize_grads=True))


def close(found: list[Tensor], wanted: list[Tensor], tolerance: float = 2e-5) -> None:
    for ours, exact in zip(found, wanted, strict=True):
        assert (ours.double() - exact.double()).abs().max() <= tolerance * max(1.0, exact.abs().max().item())


@every_layer
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"bias": False, "eps": 1e-2}], ids=str)
def test_values_and_gradients(make: type[Layer], width: int, options: dict[str, Any], walked: list[Any]) -> None:
    layer, exact = layers(make, width, **options)
    tensors = inputs(make, width, 2 if "bidirectional" in options else 1)
    found, wanted = outcome(layer, tensors), outcome(exact, tensors)
    assert [how.reverse for how in walked] == [False, True][: len(walked)]
    assert len(walked) == (2 if "bidirectional" in options else 1)
    for ours, exactly in zip(found, wanted, strict=True):
        close(ours, exactly)


@every_layer
def test_without_a_gradient_nothing_is_kept(make: type[Layer], walked: list[Any]) -> None:
    layer, exact = layers(make, 16, bidirectional=True)
    x = torch.randn(9, 3, 4)
    with torch.no_grad():
        found, wanted = run(layer, x), run(exact, x.double())
    assert len(walked) == 2
    assert found[0].grad_fn is None
    close(found, wanted)


@every_layer
def test_a_gradient_of_some_only(make: type[Layer], walked: list[Any]) -> None:
    layer, exact = layers(make, 16)
    layer.requires_grad_(False)
    x = torch.randn(9, 3, 4, requires_grad=True)
    (found,) = torch.autograd.grad(layer(x)[0].square().sum(), x)
    (wanted,) = torch.autograd.grad(exact(x.double())[0].square().sum(), x)
    assert walked
    close([found], [wanted])


@every_layer
def test_second_derivative(make: type[Layer], walked: list[Any]) -> None:
    layer, exact = layers(make, 8)
    x = torch.randn(4, 2, 4, requires_grad=True)
    twice = []
    for each in (layer, exact):
        y = each(x.to(each.get_parameter("weight_ih_l0").dtype))[0]
        (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        twice.append(torch.autograd.grad(first.square().sum(), [x, *each.parameters()], materialize_grads=True))
    assert walked
    close(list(twice[0]), list(twice[1]), 1e-4)


@every_layer
def test_backward_twice_and_an_output_written_over(make: type[Layer]) -> None:
    layer, _ = layers(make, 16)
    y = layer(torch.randn(9, 3, 4))[0]
    loss = y.square().sum()
    first = torch.autograd.grad(loss, list(layer.parameters()), retain_graph=True)
    again = torch.autograd.grad(loss, list(layer.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    y = layer(torch.randn(9, 3, 4))[0]
    with torch.no_grad():
        y.mul_(0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@every_layer
def test_it_stands_back(make: type[Layer], walked: list[Any]) -> None:
    layer, _ = layers(make, 16)
    x = torch.randn(9, 3, 4)
    wanted = layer(x)[0]
    assert len(walked) == 1
    with kernels.disabled("native"):
        close([layer(x)[0]], [wanted])
    with torch.autocast("cpu", torch.bfloat16):
        layer(x)
    torch.vmap(layer)(x[None])
    norm = layer.get_submodule(NORMS[make])
    norm.register_forward_hook(lambda *_: None)
    layer(x)
    assert len(walked) == 1


@every_layer
def test_states_that_are_not_contiguous(make: type[Layer], walked: list[Any]) -> None:
    layer, exact = layers(make, 16)
    x, *states = inputs(make, 16, 1)
    states = [torch.randn(1, 16, 3).mT for _ in states]
    close(run(layer, x, *states), run(exact, x.double(), *(each.double() for each in states)))
    assert len(walked) == 1


def test_the_elman_network_with_relu(walked: list[Any]) -> None:
    layer, exact = layers(LayerNormRNN, 16, nonlinearity="relu", bidirectional=True)
    tensors = inputs(LayerNormRNN, 16, 2)
    found, wanted = outcome(layer, tensors), outcome(exact, tensors)
    assert len(walked) == 2
    for ours, exactly in zip(found, wanted, strict=True):
        close(ours, exactly)
