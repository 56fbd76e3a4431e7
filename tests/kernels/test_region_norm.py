"""The ways of `kernels.region_norm` that a CPU does not take by itself: pixels selected, as on a GPU."""

import pytest
import torch
from torch import Tensor

from normkit.kernels import region_norm as kernel
from normkit.kernels.reference import region_norm as reference


def outcome(function, style: str, eps_mode: str) -> list[Tensor]:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, 6, 5, generator=draw, dtype=torch.float64, requires_grad=True)
    weight, bias = torch.randn(2, 3, 4, generator=draw, dtype=torch.float64).requires_grad_().unbind()
    label = torch.randint(3, (3, 1, 6, 5), generator=draw)
    label[0] = 1  # a sample in which two regions are empty
    y = function(x, label, 3, weight, bias, style, 1e-3, eps_mode)
    return [y, *torch.autograd.grad((y * torch.linspace(-1, 2, y.numel()).view_as(y)).sum(), (x, weight, bias))]


@pytest.mark.parametrize("style", ["instance", "batch"])
@pytest.mark.parametrize("eps_mode", ["plain", "official"])
@pytest.mark.parametrize("selected", [False, True])
def test_products_and_selections_are_the_reference(
    style: str, eps_mode: str, selected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = kernel._opened
    if selected:
        monkeypatch.setattr(kernel, "_opened", lambda *each: (opened(*each)[0], opened(*each)[1].bool()))
    ours, wanted = (outcome(each.region_norm, style, eps_mode) for each in (kernel, reference))
    for one, other in zip(ours, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_several_gradients_at_once() -> None:
    """`is_grads_batched` goes the way of the reference."""
    x, label = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True), torch.arange(32).view(2, 1, 4, 4) % 2
    y = kernel.region_norm(x, label, 2)
    gradients = torch.randn(5, *y.shape, dtype=torch.float64)
    (together,) = torch.autograd.grad(y, x, gradients, is_grads_batched=True, retain_graph=True)
    alone = [torch.autograd.grad(y, x, each, retain_graph=True)[0] for each in gradients]
    torch.testing.assert_close(together, torch.stack(alone))


def test_of_the_size_of_x_only_x_is_kept() -> None:
    x, label = torch.randn(2, 3, 16, 16, requires_grad=True), torch.zeros(2, 1, 16, 16, dtype=torch.bool)
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        kernel.region_norm(x, label, 2)
    large = [each for each in saved if each.numel() >= x.numel()]
    assert [each.data_ptr() for each in large] == [x.data_ptr()]
