"""LayerNorm: torch's layer in every respect, and what it refuses."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from normkit.nn import LayerNorm


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"elementwise_affine": False}, {"eps": 1e-2}])
def test_equals_torchs_layer_and_loads_its_checkpoint(options: dict[str, object]) -> None:
    theirs, ours = torch.nn.LayerNorm((4, 5), **options), LayerNorm((4, 5), **options)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.randn(3, 4, 5)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-6)
    assert isinstance(ours, torch.nn.LayerNorm)


@settings(max_examples=30, deadline=None)
@given(width=st.integers(2, 40), scale=st.floats(0.1, 1e3), shift=st.floats(-1e3, 1e3), seed=st.integers(0, 9))
def test_scale_and_shift_of_a_case_do_not_matter(width: int, scale: float, shift: float, seed: int) -> None:
    x = torch.randn(3, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    layer = LayerNorm(width, eps=0.0, dtype=torch.float64)
    torch.testing.assert_close(layer(scale * x + shift), layer(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("width", [1, 7])
def test_a_constant_row_gives_the_shift_and_a_finite_gradient(width: int) -> None:
    layer = LayerNorm(width)
    torch.nn.init.normal_(layer.bias)
    x = torch.full((2, width), 3.0, requires_grad=True)
    y = layer(x)
    torch.testing.assert_close(y, layer.bias.expand(2, width))
    (gradient,) = torch.autograd.grad(y.square().sum(), x)
    assert bool(gradient.isfinite().all())


def test_half_precision_subtracts_the_mean_first() -> None:
    x = (torch.randn(4, 64, generator=torch.Generator().manual_seed(0)) * 0.5 + 100).to(torch.bfloat16)
    exact = torch.nn.functional.layer_norm(x.double(), (64,))
    assert (LayerNorm(64, dtype=torch.bfloat16)(x).double() - exact).abs().max() < 1e-2


def test_refusals() -> None:
    with pytest.raises(ValueError, match="eps must be at least 0, got -1"):
        LayerNorm(4, eps=-1.0)
    with pytest.raises(ValueError, match=r"normalized_shape \(4,\) must be the trailing axes .* \(2, 5\)"):
        LayerNorm(4)(torch.randn(2, 5))
    with pytest.raises(TypeError, match=r"float tensor, got torch\.int64"):
        LayerNorm(4)(torch.ones(2, 4, dtype=torch.int64))
