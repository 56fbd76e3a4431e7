"""MobileNetV2: the published size and names, and that torchvision's ImageNet weights see what is in a photograph."""

import re

import pytest
import torch
from sklearn.datasets import load_sample_image
from torch import nn

import normkit
from normkit import data
from normkit.models import MobileNetV2, mobilenet_v2

from .test_convolutional import unchecked


@pytest.fixture(scope="module")
def imagenet(data_folder: object) -> MobileNetV2:
    try:
        return mobilenet_v2("imagenet").eval()
    except data.DataNotFound as error:
        pytest.skip(str(error))


def test_it_has_the_published_size_and_names() -> None:
    """torchvision documents 3,504,872 parameters; 52 normalisers, and the names of its checkpoints."""
    model = MobileNetV2()
    assert sum(p.numel() for p in model.parameters()) == 3_504_872
    assert sum(isinstance(module, nn.BatchNorm2d) for module in model.modules()) == 52
    state = model.state_dict()
    assert len(state) == 314
    shapes = {
        "features.0.0.weight": (32, 3, 3, 3),
        "features.1.conv.0.0.weight": (32, 1, 3, 3),
        "features.1.conv.2.running_var": (16,),
        "features.2.conv.0.0.weight": (96, 16, 1, 1),
        "features.17.conv.3.bias": (320,),
        "features.18.0.weight": (1280, 320, 1, 1),
        "classifier.1.weight": (1000, 1280),
    }
    assert {name: tuple(state[name].shape) for name in shapes} == shapes


def test_the_image_shrinks_32_times_and_blocks_add_where_the_shape_stays() -> None:
    model = MobileNetV2(7, in_channels=1).eval()
    assert model.features(torch.randn(2, 1, 64, 96)).shape == (2, 1280, 2, 3)
    assert model(torch.randn(2, 1, 33, 32)).shape == (2, 7)
    assert [index for index, block in enumerate(model.features) if getattr(block, "adds", False)] == [
        3, 5, 6, 8, 9, 10, 12, 13, 15, 16,
    ]  # fmt: skip
    block = model.features[3]
    nn.init.zeros_(block.conv[-1].weight)
    x = torch.randn(2, 24, 8, 8)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize(("width", "millions"), [(1.4, 6.06), (1.0, 3.47), (0.75, 2.61), (0.5, 1.95), (0.35, 1.66)])
def test_other_widths_have_the_published_sizes(width: float, millions: float) -> None:
    """The authors' table, which counts 1,001 classes and is 1 % below torchvision's count at width 1 already."""
    parameters = sum(p.numel() for p in MobileNetV2(1001, width).parameters())
    assert parameters / 1e6 == pytest.approx(millions, rel=0.012)


def test_the_factory_makes_every_norm() -> None:
    model = MobileNetV2(3, 0.35, norm_layer=lambda channels: nn.GroupNorm(4, channels))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert model(torch.randn(1, 3, 32, 32)).shape == (1, 3)


def test_tools_can_read_it() -> None:
    model, images = MobileNetV2(5, 0.35).eval(), torch.randn(2, 3, 32, 32)
    expected = model(images)
    with unchecked():
        traced = torch.fx.symbolic_trace(model)
    assert torch.equal(traced(images), expected)
    model(images).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.slow
def test_it_is_exported() -> None:
    model, images = MobileNetV2(5, 0.35).eval(), torch.randn(2, 3, 32, 32)
    exported = torch.export.export(model, (images,)).module()
    assert torch.allclose(exported(images), model(images), atol=1e-6)


@pytest.mark.slow
def test_conversions_find_all_of_its_norms() -> None:
    model, images = MobileNetV2(5, 0.35), torch.randn(8, 3, 32, 32)
    model(images)  # statistics of its own, so that folding has something to fold
    found = normkit.convert(model.eval(), "fold", example=images)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in found.model.modules())
    torch.testing.assert_close(found.model(images), model(images), rtol=1e-4, atol=1e-6)
    fresh = normkit.convert(model, "group-norm", example=images, data=[images])
    assert sum(isinstance(module, nn.GroupNorm) for module in fresh.model.modules()) == 52


@pytest.mark.parametrize("wrong", [{"num_classes": 0}, {"width_mult": -1.0}, {"in_channels": 0}])
def test_wrong_sizes_are_named(wrong: dict[str, float]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} is .*must be positive"):
        MobileNetV2(**wrong)  # type: ignore[arg-type]


def test_unknown_weights_are_named() -> None:
    with pytest.raises(ValueError, match=re.escape("weights is 'cifar': give None or 'imagenet'")):
        mobilenet_v2("cifar")


@pytest.mark.parametrize(("picture", "label"), [("chelsea", 285), ("coffee", 967), ("rocket", 812), ("china", 698)])
def test_it_sees_what_is_in_a_photograph(imagenet: MobileNetV2, picture: str, label: int) -> None:
    """An Egyptian cat, an espresso, a space shuttle, a palace."""
    if picture == "china":
        pixels = load_sample_image("china.jpg")[:, 100:527].copy()
    else:
        pixels = getattr(pytest.importorskip("skimage.data"), picture)()
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        logits = imagenet(_as_trained(nn.functional.interpolate(image, (224, 224), mode="bilinear", antialias=True)))
    assert int(logits.argmax()) == label


def _as_trained(images: torch.Tensor) -> torch.Tensor:
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (images - mean[:, None, None]) / std[:, None, None]


@pytest.mark.slow
def test_its_features_tell_small_photographs_apart(imagenet: MobileNetV2) -> None:
    """The nearest of ten means, each taken from 10 images, names far more of 100 others than one in ten."""
    if not data.describe("cifar10-mini")["available"]:
        pytest.skip("cifar10-mini is not on this machine")
    bunch = data.load("cifar10-mini")
    assert bunch.y is not None
    chosen = torch.cat([torch.from_numpy(bunch.split["train"])[i::1600][:10] for i in range(0, 200, 10)])
    images = torch.from_numpy(bunch.X[chosen]).permute(0, 3, 1, 2).float() / 255
    images = nn.functional.interpolate(_as_trained(images), size=96, mode="bilinear")
    with torch.inference_mode():
        features = nn.functional.normalize(imagenet.features(images).mean((2, 3)).log1p())
    y = torch.from_numpy(bunch.y)[chosen]
    means = torch.stack([features[:100][y[:100] == label].mean(0) for label in range(10)])
    assert float((torch.cdist(features[100:], means).argmin(1) == y[100:]).double().mean()) > 0.35
