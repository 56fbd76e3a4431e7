"""weight_standardize: what it makes of filters, what does not matter to it, and what it refuses."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from normkit.functional import weight_standardize


@pytest.mark.parametrize(("variant", "correction"), [("official", 1), ("bcn", 1), ("timm", 0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_filters_have_mean_0_and_deviation_1(variant: str, correction: int, dtype: torch.dtype) -> None:
    filters = weight_standardize(3 + 2 * torch.randn(5, 6, 3, 3, dtype=dtype), variant, 0.0).flatten(1)
    torch.testing.assert_close(filters.mean(1), torch.zeros(5, dtype=dtype), rtol=0, atol=1e-6)
    torch.testing.assert_close(filters.std(1, correction=correction), torch.ones(5, dtype=dtype), rtol=0, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    entries=st.integers(2, 70),
    scale=st.floats(0.1, 1e3),
    shift=st.floats(-1e3, 1e3),
    variant=st.sampled_from(["official", "bcn", "timm"]),
)
def test_scale_and_shift_of_a_filter_do_not_matter(entries: int, scale: float, shift: float, variant: str) -> None:
    weight = torch.randn(3, entries, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    plain = weight_standardize(weight, variant, 0.0)
    torch.testing.assert_close(weight_standardize(scale * weight + shift, variant, 0.0), plain, rtol=0, atol=1e-6)


@pytest.mark.parametrize("variant", ["official", "bcn", "timm"])
def test_gradient_has_no_mean_and_is_orthogonal_to_the_result(variant: str) -> None:
    weight = torch.randn(4, 50, requires_grad=True)
    standardized = weight_standardize(weight, variant, 0.0)
    (gradient,) = torch.autograd.grad(standardized, weight, torch.randn(4, 50))
    assert gradient.mean(1).abs().max() < 1e-6
    assert (gradient * standardized.detach()).sum(1).abs().max() < 1e-4


@pytest.mark.parametrize("variant", ["official", "bcn", "timm"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_constant_filter_gives_0_and_a_finite_gradient(variant: str, dtype: torch.dtype) -> None:
    weight = torch.full((2, 3, 3), 0.7, dtype=dtype, requires_grad=True)
    standardized = weight_standardize(weight, variant)
    (gradient,) = torch.autograd.grad(standardized, weight, torch.randn(2, 3, 3, dtype=dtype))
    assert standardized.abs().max() < 1e-3
    assert gradient.isfinite().all()


def test_refusals() -> None:
    with pytest.raises(ValueError, match="variant is 'official', 'bcn' or 'timm', not 'mine'"):
        weight_standardize(torch.ones(2, 3), "mine")
    with pytest.raises(ValueError, match=r"weight must be \(filters, ...\), got the shape \(3,\)"):
        weight_standardize(torch.ones(3))
    with pytest.raises(ValueError, match="have one entry, which would become 0"):
        weight_standardize(torch.ones(4, 1, 1, 1))
    with pytest.raises(ValueError, match="eps must be at least 0"):
        weight_standardize(torch.ones(2, 3), eps=-1.0)
