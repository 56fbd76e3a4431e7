"""Weight standardisation: what it does to a filter and its gradient, how it is registered, what it refuses."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from normkit.functional import weight_standardize
from normkit.weights import WSConv2d, WSLinear, weight_standardization

VARIANTS = ("official", "bcn", "timm")


@settings(max_examples=30, deadline=None)
@given(scale=st.floats(0.1, 100), shift=st.floats(-10, 10), variant=st.sampled_from(VARIANTS), seed=st.integers(0, 9))
def test_scale_and_shift_of_a_filter_do_not_matter(scale: float, shift: float, variant: str, seed: int) -> None:
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    moved = weight_standardize(scale * weight + shift, variant, eps=0.0)
    torch.testing.assert_close(moved, weight_standardize(weight, variant, eps=0.0), rtol=0, atol=1e-9)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_gradient_of_a_filter_has_no_mean_and_no_part_along_it(variant: str) -> None:
    weight = torch.randn(4, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    standardized = weight_standardize(weight, variant, eps=1e-14)
    (gradient,) = torch.autograd.grad(standardized, weight, torch.randn(weight.shape, dtype=torch.float64))
    torch.testing.assert_close(gradient.mean((1, 2, 3)), torch.zeros(4).double(), rtol=0, atol=1e-12)
    along = (gradient * standardized).sum((1, 2, 3))
    torch.testing.assert_close(along, torch.zeros(4).double(), rtol=0, atol=1e-9)


def test_timms_trick_by_batch_norm_gives_the_timm_variant() -> None:
    weight = torch.randn(6, 4, 3, 3)
    trick = nn.functional.batch_norm(weight.reshape(1, 6, -1), None, None, training=True, momentum=0.0, eps=1e-6)
    torch.testing.assert_close(weight_standardize(weight, "timm"), trick.reshape_as(weight), rtol=0, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_constant_filter_gives_zero_and_a_finite_gradient(variant: str) -> None:
    weight = torch.randn(3, 2, 2, 2, requires_grad=True)
    with torch.no_grad():
        weight[1] = 0.5
    standardized = weight_standardize(weight, variant)
    assert torch.equal(standardized[1], torch.zeros(2, 2, 2))
    (gradient,) = torch.autograd.grad(standardized.square().sum() + standardized.sum(), weight)
    assert bool(gradient.isfinite().all())


def test_registering_warns_of_constant_filters() -> None:
    conv = nn.Conv2d(3, 4, 3)
    nn.init.ones_(conv.weight)
    with pytest.warns(UserWarning, match=r"Conv2d\(3, 4.*: 4 of 4 filters have equal entries"):
        weight_standardization(conv)


@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_convolutions_count_their_filters_on_the_second_axis(groups: int) -> None:
    conv = weight_standardization(nn.ConvTranspose2d(4, 6, 3, groups=groups))
    filters = conv.weight.reshape(groups, 4 // groups, 6 // groups, 9)
    torch.testing.assert_close(filters.mean((1, 3)), torch.zeros(groups, 6 // groups), rtol=0, atol=1e-6)
    torch.testing.assert_close(filters.std((1, 3)), torch.ones(groups, 6 // groups), rtol=1e-3, atol=0)


def test_the_parametrised_layer_and_the_layer_are_the_same() -> None:
    layer, plain, x = WSConv2d(4, 6, 3, gain=True), nn.Conv2d(4, 6, 3), torch.randn(2, 4, 5, 5)
    plain.load_state_dict(layer.state_dict(), strict=False)
    torch.testing.assert_close(weight_standardization(plain, gain=True)(x), layer(x))


def test_training_moves_the_free_weight() -> None:
    conv, x = weight_standardization(nn.Conv2d(2, 3, 3)), torch.randn(4, 2, 5, 5)
    optimizer = torch.optim.SGD(conv.parameters(), lr=0.1)
    before = conv.weight.detach().clone()
    conv(x).square().mean().backward()
    optimizer.step()
    assert not torch.equal(conv.weight, before)
    torch.testing.assert_close(conv.weight.std((1, 2, 3)), torch.ones(3), rtol=1e-3, atol=0)


def test_refusals() -> None:
    depthwise = "one entry, which would become 0 and kill the layer"
    with pytest.raises(ValueError, match=rf"^Conv2d\(4, 4, .*groups=4.*{depthwise}"):
        weight_standardization(nn.Conv2d(4, 4, 1, groups=4))
    with pytest.raises(ValueError, match=rf"^WSConv2d\(4, 4, .*groups=4.*{depthwise}"):
        WSConv2d(4, 4, 1, groups=4)
    with pytest.raises(ValueError, match=rf"^WSLinear\(in_features=1.*{depthwise}"):
        WSLinear(1, 4)
    with pytest.raises(ValueError, match="variant is 'official', 'bcn' or 'timm', not 'mine'"):
        weight_standardization(nn.Linear(3, 3), variant="mine")
    with pytest.raises(ValueError, match=r"'weight' of ParametrizedLinear.* is standardised already"):
        weight_standardization(weight_standardization(nn.Linear(3, 3)))
    with pytest.raises(ValueError, match=r"'weight' of WSLinear.* is standardised already"):
        weight_standardization(WSLinear(3, 3))
    with pytest.raises(AttributeError, match=r"ReLU.* has no parameter 'weight'"):
        weight_standardization(nn.ReLU())
    with pytest.raises(ValueError, match=r"weight must be \(filters, \.\.\.\), got the shape \(3,\)"):
        weight_standardization(nn.LayerNorm(3))
    with pytest.raises(ValueError, match="eps must be at least 0"):
        weight_standardize(torch.randn(3, 3), eps=-1.0)
