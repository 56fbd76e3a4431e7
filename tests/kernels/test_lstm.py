"""The loop of the LSTM by hand: the values and gradients of the steps in float64, and when it stands back."""

from typing import Any

import pytest
import torch
from torch import Tensor

from normkit import kernels
from normkit.kernels import lstm, native
from normkit.nn import LayerNormLSTM

pytestmark = pytest.mark.skipif(native.norm_rows is None, reason=f"no native kernels: {native.WHY_NOT}")

WIDTHS = (3, 16)


@pytest.fixture
def walked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The walks that the layers take through the loop."""
    found: list[Any] = []
    walk = lstm.walk

    def seen(how: Any, *args: Any) -> Any:
        found.append(how)
        return walk(how, *args)

    monkeypatch.setattr(lstm, "walk", seen)
    return found


def layers(width: int, **options: Any) -> tuple[LayerNormLSTM, LayerNormLSTM]:
    """A layer in float32 and the same in float64."""
    torch.manual_seed(2)
    layer = LayerNormLSTM(4, width, **options)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    exact = LayerNormLSTM(4, width, dtype=torch.float64, **options)
    exact.load_state_dict(layer.state_dict())
    return layer, exact


def inputs(width: int, directions: int, steps: int = 9) -> list[Tensor]:
    x = torch.randn(steps, 3, 4, requires_grad=True)
    return [x, *(torch.randn(directions, 3, width, requires_grad=True) for _ in range(2))]


def outcome(layer: LayerNormLSTM, tensors: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Output, last states, and the gradients of a weighted sum of all three."""
    x, *states = (tensor.to(layer.get_parameter("weight_ih_l0").dtype) for tensor in tensors)
    output, last = layer(x, tuple(states))
    found = [output, *last]
    loss = torch.stack([(y * torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view_as(y)).sum() for y in found]).sum()
    return found, list(torch.autograd.grad(loss, [*tensors, *layer.parameters()], materialize_grads=True))


def close(found: list[Tensor], wanted: list[Tensor], tolerance: float = 2e-5) -> None:
    for ours, exact in zip(found, wanted, strict=True):
        assert (ours.double() - exact.double()).abs().max() <= tolerance * max(1.0, exact.abs().max().item())


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"bias": False, "eps": 1e-2}], ids=str)
def test_values_and_gradients(width: int, options: dict[str, Any], walked: list[Any]) -> None:
    layer, exact = layers(width, **options)
    tensors = inputs(width, 2 if "bidirectional" in options else 1)
    found, wanted = outcome(layer, tensors), outcome(exact, tensors)
    assert [how.reverse for how in walked] == [False, True][: len(walked)]
    assert len(walked) == (2 if "bidirectional" in options else 1)
    for ours, exactly in zip(found, wanted, strict=True):
        close(ours, exactly)


def test_without_a_gradient_nothing_is_kept(walked: list[Any]) -> None:
    layer, exact = layers(16, bidirectional=True)
    x = torch.randn(9, 3, 4)
    with torch.no_grad():
        output, states = layer(x)
        wanted, wanted_states = exact(x.double())
    assert len(walked) == 2
    assert output.grad_fn is None
    close([output, *states], [wanted, *wanted_states])


def test_a_gradient_of_some_only(walked: list[Any]) -> None:
    layer, exact = layers(16)
    layer.requires_grad_(False)
    x = torch.randn(9, 3, 4, requires_grad=True)
    (found,) = torch.autograd.grad(layer(x)[0].square().sum(), x)
    (wanted,) = torch.autograd.grad(exact(x.double())[0].square().sum(), x)
    assert walked
    close([found], [wanted])


def test_second_derivative(walked: list[Any]) -> None:
    layer, exact = layers(8)
    x = torch.randn(4, 2, 4, requires_grad=True)
    twice = []
    for each in (layer, exact):
        y = each(x.to(each.get_parameter("weight_ih_l0").dtype))[0]
        (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        twice.append(torch.autograd.grad(first.square().sum(), [x, *each.parameters()], materialize_grads=True))
    assert walked
    close(list(twice[0]), list(twice[1]), 1e-4)


def test_backward_twice_and_an_output_written_over() -> None:
    layer, _ = layers(16)
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


def test_it_stands_back(walked: list[Any]) -> None:
    layer, _ = layers(16)
    x = torch.randn(9, 3, 4)
    wanted = layer(x)[0]
    assert len(walked) == 1
    with kernels.disabled("native"):
        close([layer(x)[0]], [wanted])
    with torch.autocast("cpu", torch.bfloat16):
        layer(x)
    torch.vmap(layer)(x[None])
    layer.ln_c_l0.register_forward_hook(lambda *_: None)
    layer(x)
    assert len(walked) == 1


def test_states_that_are_not_contiguous(walked: list[Any]) -> None:
    layer, exact = layers(16)
    x, states = torch.randn(9, 3, 4), tuple(torch.randn(1, 16, 3).mT for _ in range(2))
    close([layer(x, states)[0]], [exact(x.double(), tuple(each.double() for each in states))[0]])
    assert len(walked) == 1
