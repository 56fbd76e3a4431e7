"""region_norm: each region stands for itself, by any labels; what does not fit is named."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from normkit.functional import region_norm


def maps(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels(high: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("style", ["instance", "batch"])
def test_four_regions_have_mean_0_and_variance_v_over_v_plus_eps(style: str) -> None:
    x, label = 3 + 2 * maps(3, 5, 8, 8), labels(4, 3, 8, 8)
    y = region_norm(x, label, style=style)
    samples = [slice(i, i + 1) for i in range(3)] if style == "instance" else [slice(None)]
    for sample in samples:
        for region in range(4):
            before, after = (t[sample].transpose(0, 1)[:, label[sample] == region] for t in (x, y))
            variance = before.var(1, correction=0)
            torch.testing.assert_close(after.mean(1), torch.zeros(5, dtype=torch.float64))
            torch.testing.assert_close(after.var(1, correction=0), variance / (variance + 1e-5))


def test_one_region_is_instance_norm_and_batch_norm() -> None:
    x = maps(3, 4, 5, 6)
    one = torch.zeros(3, 5, 6, dtype=torch.int64)
    torch.testing.assert_close(region_norm(x, one), torch.nn.functional.instance_norm(x))
    batch = torch.nn.functional.batch_norm(x, None, None, training=True)
    torch.testing.assert_close(region_norm(x, one, style="batch"), batch)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**20), scale=st.floats(1, 1e3), shift=st.floats(-1e3, 1e3), regions=st.integers(1, 4))
def test_other_regions_may_hold_anything(seed: int, scale: float, shift: float, regions: int) -> None:
    """An affine map of the other regions leaves a region as it was, bit by bit; in float32 too."""
    x, label = maps(2, 3, 4, 5, seed=seed).float(), labels(regions, 2, 1, 4, 5, seed=seed)
    changed = torch.where(label == 0, x, scale * x + shift)
    inside = (label == 0).expand_as(x)
    y, z = region_norm(x, label, regions), region_norm(changed, label, regions)
    assert torch.equal(y[inside], z[inside])


def test_a_nan_stays_in_its_region() -> None:
    x, label = maps(1, 2, 4, 4), torch.arange(16).view(1, 4, 4) // 8
    x[0, 0, 0, 0] = torch.nan
    y = region_norm(x, label, 2)
    assert y[0, 0, :2].isnan().all()
    assert y[0, 0, 2:].isfinite().all()
    assert y[0, 1].isfinite().all()


@pytest.mark.parametrize("hole", [False, True])
def test_an_empty_region_and_a_full_one_are_safe(hole: bool) -> None:
    x = maps(2, 3, 4, 4).requires_grad_()
    mask = torch.full((2, 1, 4, 4), hole)
    y = region_norm(x, mask)
    torch.testing.assert_close(y, torch.nn.functional.instance_norm(x))
    (gradient,) = torch.autograd.grad(y.pow(3).sum(), x)
    assert gradient.isfinite().all()


def test_labels_may_be_any_numbers() -> None:
    x, label = maps(2, 3, 4, 4), labels(3, 2, 4, 4)
    torch.testing.assert_close(region_norm(x, 100 * label - 7), region_norm(x, label, 3))
    torch.testing.assert_close(region_norm(x, label.to(torch.uint8), 5), region_norm(x, label[:, None], 3))


def test_a_constant_hole_far_away_costs_no_digits() -> None:
    """The two-pass variance in float32: with a fill of 1e4 the one-pass formula would leave nothing of the rest."""
    x = maps(2, 3, 16, 16)
    mask = torch.zeros(2, 1, 16, 16, dtype=torch.bool)
    mask[..., 4:12, 4:12] = True
    filled = torch.where(mask, 1e4, x)
    y = region_norm(filled.float(), mask).double()
    torch.testing.assert_close(y, region_norm(filled, mask), rtol=0, atol=2e-6)
    assert not y[mask.expand_as(y)].any()


def test_half_precision_counts_beyond_2048() -> None:
    x = (maps(1, 2, 80, 80) + 10).half()
    mask = torch.zeros(1, 1, 80, 80, dtype=torch.bool)
    mask[..., :40] = True
    y = region_norm(x, mask)
    assert y.dtype == torch.float16
    torch.testing.assert_close(y.double(), region_norm(x.double(), mask), rtol=0, atol=5e-3)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"label": torch.zeros(2, 4, 4)}, TypeError, r"label must be integer or bool, got torch.float32; .*mask > 0.5"),
        ({"label": torch.zeros(2, 4, 5, dtype=torch.int64)}, ValueError, r"label must have the shape \(2, 1, 4, 4\)"),
        ({"num_regions": 2}, ValueError, r"labels of 2 regions lie in 0 … 1, got 0 … 2; give the number"),
        ({"num_regions": 0}, ValueError, "num_regions must be at least 1, got 0"),
        ({"weight": torch.ones(3, 4)}, ValueError, r"weight must be \(regions, channels\) = \(3, 3\)"),
        ({"bias": torch.ones(3)}, ValueError, r"bias must be \(regions, channels\) = \(3, 3\)"),
        ({"style": "layer"}, ValueError, "style is 'instance' or 'batch', not 'layer'"),
        ({"eps_mode": "released"}, ValueError, "eps_mode is 'plain' or 'official', not 'released'"),
        ({"eps": -1.0}, ValueError, "eps must be at least 0, got -1.0"),
        ({"input": torch.ones(2, 3)}, ValueError, r"input must be \(batch, channels, \*space\)"),
    ],
)
def test_misfits_are_named(change: dict, error: type[Exception], message: str) -> None:
    arguments = {"input": torch.ones(2, 3, 4, 4), "label": torch.arange(32).view(2, 4, 4) % 3}
    with pytest.raises(error, match=message):
        region_norm(**{**arguments, **change})


def test_what_is_transformed_must_say_how_many_regions() -> None:
    x, label = maps(2, 2, 3, 4, 4), labels(3, 2, 4, 4)
    with pytest.raises(ValueError, match="pass num_regions="):
        torch.vmap(lambda each: region_norm(each, label))(x)
    torch.vmap(lambda each: region_norm(each, label, 3))(x)
