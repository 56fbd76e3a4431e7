"""RegionNorm2d, RNB and RNL: masks of all kinds, the regions that RN-L finds, the batch style, and every refusal."""

import warnings
from collections.abc import Callable
from typing import Any

import jaxtyping
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from normkit.functional import region_norm
from normkit.nn import RNB, RNL, RegionNorm2d


def maps(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def box(*shape: int) -> Tensor:
    mask = torch.zeros(shape)
    mask[..., shape[-2] // 4 : shape[-2] // 2, : shape[-1] // 2] = 1
    return mask


def test_region_norm_takes_a_label_map_of_another_size() -> None:
    x, label = maps(2, 3, 4, 6), torch.randint(4, (2, 8, 12), generator=torch.Generator().manual_seed(0))
    layer = RegionNorm2d()
    assert torch.equal(layer(x, label), region_norm(x, label[:, ::2, ::2]))
    assert torch.equal(layer(x, label[:, None]), layer(x, label))


@pytest.mark.parametrize("convert", [torch.Tensor.bool, torch.Tensor.long, torch.Tensor.half, torch.Tensor.double])
def test_a_mask_of_any_type_is_taken(convert: Callable[[Tensor], Tensor]) -> None:
    x, mask, layer = maps(2, 3, 8, 8), box(2, 1, 16, 16), RNB(3)
    assert torch.equal(layer(x, convert(mask)), layer(x, mask))


@pytest.mark.parametrize(("mask", "features"), [((65, 64), (32, 32)), ((64, 48), (15, 11)), ((7, 9), (14, 18))])
def test_the_mask_is_resized_as_torch_does(mask: tuple[int, int], features: tuple[int, int]) -> None:
    hole = (maps(1, 1, *mask) > 0).float()
    x = maps(1, 3, *features)
    assert torch.equal(RNB(3)(x, hole), RNB(3)(x, F.interpolate(hole, features, mode="nearest")))


def test_a_float_mask_of_another_size_compiles_whole() -> None:
    x, mask, layer = maps(2, 3, 8, 8), box(2, 1, 16, 16), RNB(3)
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(x, mask), layer(x, mask))
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def test_rnb_gives_each_region_its_own_affine_map() -> None:
    x, mask, layer = maps(2, 3, 8, 8), box(2, 1, 8, 8), RNB(3)
    normal = region_norm(x, mask.bool())
    assert torch.equal(layer(x, mask), normal)
    with torch.no_grad():
        layer.foreground_gamma.fill_(1.0)
        layer.background_beta.fill_(0.5)
    torch.testing.assert_close(layer(x, mask), torch.where(mask.bool(), 2 * normal, normal + 0.5))
    official = RNB(3, affine_mode="official")
    official.load_state_dict(layer.state_dict())
    torch.testing.assert_close(official(x, mask), torch.where(mask.bool(), 2 * normal + 0.5, normal + 0.5))


def test_rnl_below_its_threshold_is_one_region() -> None:
    """What is left is an instance norm with an affine map by pixel, the same for all channels."""
    torch.manual_seed(0)
    x, layer = maps(2, 6, 12, 12), RNL(6, threshold=0.95)
    importance, gamma, beta = layer.sa(x)
    assert importance.max() < 0.95
    torch.testing.assert_close(layer(x), F.instance_norm(x) * (1 + gamma) + beta)


def test_rnl_splits_where_the_importance_passes_the_threshold() -> None:
    torch.manual_seed(0)
    x, layer = maps(2, 6, 12, 12), RNL(6, threshold=0.5, kernel_size=3)
    importance, gamma, beta = layer.sa(x)
    assert 0.1 < (importance >= 0.5).float().mean() < 0.9
    torch.testing.assert_close(layer(x), region_norm(x, importance >= 0.5) * (1 + gamma) + beta)


def test_gradients_reach_the_attention_through_the_affine_map_alone() -> None:
    torch.manual_seed(0)
    x, layer = maps(2, 6, 12, 12), RNL(6, threshold=0.5)
    layer(x).square().sum().backward()
    assert layer.sa.conv1.weight.grad.abs().sum() > 0
    with torch.no_grad():
        layer.sa.gamma_conv.weight.zero_()
        layer.sa.beta_conv.weight.zero_()
    layer.zero_grad()
    layer(x).square().sum().backward()
    assert not layer.sa.conv1.weight.grad.any()


@pytest.mark.parametrize("build", [RNB, RNL, lambda channels, **options: RegionNorm2d(num_regions=2, **options)])
def test_the_batch_style_depends_on_the_batch_and_warns_of_a_single_image(build: Callable[..., Any]) -> None:
    x, mask = maps(3, 4, 8, 8), box(3, 1, 8, 8).bool()
    layer = build(4, style="batch").eval()

    def call(images: Tensor) -> Tensor:
        return layer(images) if isinstance(layer, RNL) else layer(images, mask[: len(images)])

    assert not torch.allclose(call(x)[:2], call(x[:2]), atol=1e-3)
    with pytest.warns(UserWarning, match="batch is a single image"):
        call(x[:1])
    layer.train()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call(x[:1])


def test_a_mask_that_is_none_is_refused_with_how_to_threshold() -> None:
    x = maps(2, 3, 8, 8)
    with pytest.raises(ValueError, match=r"values from 0 to 255; threshold it, e.g. mask > 127"):
        RNB(3)(x, 255 * box(2, 1, 8, 8))
    with pytest.raises(ValueError, match=r"values from 0 to 0.5; threshold it, e.g. mask > 0.5"):
        RNB(3)(x, 0.5 * box(2, 1, 8, 8))
    with pytest.raises(ValueError, match="threshold it"):
        RNB(3)(x, torch.full((2, 1, 8, 8), torch.nan))


@pytest.mark.parametrize("shape", [(2, 1, 16, 8), (2, 1, 8, 12), (3, 1, 8, 8), (2, 3, 8, 8), (8, 8)])
def test_a_mask_that_does_not_fit_is_refused(shape: tuple[int, ...]) -> None:
    message = "another ratio of height to width" if shape[:2] == (2, 1) else r"must be \(2, 1, height, width\)"
    with pytest.raises(ValueError, match=message):
        RNB(3)(maps(2, 3, 8, 8), torch.zeros(shape))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: RNL(3, kernel_size=5), "kernel_size is 3 or 7, so that the maps keep their size, not 5"),
        (lambda: RNL(3, threshold=1.0), r"threshold must lie in \(0, 1\)"),
        (lambda: RNB(3, affine_mode="masked"), "affine_mode is 'paper' or 'official', not 'masked'"),
        (lambda: RNB(3, style="layer"), "RNB: style is 'instance' or 'batch', not 'layer'"),
        (lambda: RNL(3, eps_mode="scaled"), "RNL: eps_mode is 'plain' or 'official', not 'scaled'"),
        (lambda: RegionNorm2d(eps=-1.0), "RegionNorm2d: eps must be at least 0, got -1.0"),
        (lambda: RNB(3, sync=True), "the instance style takes each sample alone"),
    ],
)
def test_options_that_make_no_sense_are_refused(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_inputs_that_do_not_fit_are_refused() -> None:
    mask = torch.zeros(2, 1, 8, 8)
    with pytest.raises(ValueError, match=r"must be \(batch, channels, height, width\), got the shape \(3, 8, 8\)"):
        RNB(3)(maps(3, 8, 8), mask)
    with pytest.raises(ValueError, match=r"must be \(batch, channels, height, width\), got the shape \(3, 8, 8\)"):
        RegionNorm2d()(maps(3, 8, 8), mask)
    with pytest.raises(ValueError, match=r"made for 3 channels, got an input of shape \(2, 4, 8, 8\)"):
        RNL(3)(maps(2, 4, 8, 8))
    with pytest.raises(TypeError, match="label must be integer or bool"):
        RegionNorm2d()(maps(2, 3, 8, 8), mask)


def test_a_mask_is_looked_at_before_it_is_brought_to_the_size_of_the_features() -> None:
    mask = torch.zeros(2, 1, 8, 8)
    mask[..., 1::2] = 0.5
    with pytest.raises(ValueError, match="mask must hold 0"):
        RNB(4)(torch.randn(2, 4, 4, 4), mask)
