"""The convolutional nets and the perceptron: layout, factories, and that users' tools can read them."""

from collections.abc import Iterator
from contextlib import contextmanager

import jaxtyping
import pytest
import torch
from torch import nn

from normkit.models import MLP, BasicResNet, CIFARResNet, PlainConvNet, ResNet, cifar_resnet, resnet


@contextmanager
def unchecked() -> Iterator[None]:
    """Annotations are not checked inside."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


IMAGES = torch.randn(4, 1, 8, 8)


def count(model: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in model.modules())


def test_the_plain_net_is_the_papers_experiment() -> None:
    model = PlainConvNet()
    assert [type(module).__name__ for module in model.features][:3] == ["Conv2d", "BatchNorm2d", "ReLU"]
    assert count(model, nn.Conv2d) == count(model, nn.BatchNorm2d) == count(model, nn.ReLU) == 11
    names = [name for name, _ in model.features.named_children()]
    assert names[names.index("pool") - 1] == "act6"
    assert all(module.bias is None for module in model.modules() if isinstance(module, nn.Conv2d))
    assert model(IMAGES).shape == (4, 10)


def test_the_residual_net_is_the_papers_experiment() -> None:
    model = ResNet()
    assert count(model, nn.Conv2d) == count(model, nn.BatchNorm2d) == 11
    assert [type(module).__name__ for module in model.blocks].index("AvgPool2d") == 3
    assert model(IMAGES).shape == (4, 10)


def test_a_block_of_nothing_is_the_identity() -> None:
    block = ResNet().blocks[0].eval()
    nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 16, 8, 8)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize(("depth", "parameters"), [(20, 272_474), (32, 466_906)])
def test_the_usual_resnet_has_the_papers_size(depth: int, parameters: int) -> None:
    """He et al. (2016), table 6: 0.27 M and 0.46 M; option B's projections add 2,752 to option A's 269,722."""
    model = resnet(depth)
    projections = sum(p.numel() for name, p in model.named_parameters() if "downsample" in name)
    assert projections == 2_752
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_the_cifar_net_bears_the_names_of_its_published_code() -> None:
    model = cifar_resnet(14, 16)
    assert [name for name, _ in model.named_children()] == ["conv", "bn", "blocks", "fc"]
    assert sum(p.numel() for p in model.parameters()) == 175_258
    shortcuts = [name for name, block in model.blocks.named_children() if len(block.shortcut)]
    assert shortcuts == ["2", "4"]  # the first blocks of the second and third stage
    assert {name.split(".", 2)[2] for name in model.state_dict() if name.startswith("blocks.2.")} >= {
        "conv1.weight", "bn1.running_var", "conv2.weight", "bn2.bias", "shortcut.0.weight", "shortcut.1.weight",
    }  # fmt: skip
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    assert CIFARResNet(1, 4, 1, stem_stride=2).conv(IMAGES).shape == (4, 4, 4, 4)


@pytest.mark.parametrize(
    "build", [PlainConvNet, ResNet, lambda norm: BasicResNet((1, 1), in_channels=1, norm_layer=norm)]
)
def test_the_factory_makes_every_norm(build: object) -> None:
    model = build(lambda channels: nn.GroupNorm(4, channels))  # type: ignore[operator]
    assert count(model, nn.BatchNorm2d) == 0
    assert count(model, nn.GroupNorm) == count(model, nn.Conv2d)
    assert model(IMAGES).shape == (4, 10)


def test_a_norm_that_brings_its_activation() -> None:
    model = ResNet(lambda channels: nn.Sequential(nn.GroupNorm(4, channels), nn.SiLU()), nn.Identity)
    assert count(model, nn.ReLU) == 0
    assert model(IMAGES).shape == (4, 10)


def test_the_perceptron() -> None:
    model = MLP((64, 100, 100, 10), nn.LayerNorm)
    kinds = [type(module).__name__ for module in model.layers]
    assert kinds == ["Flatten", *["Linear", "LayerNorm", "ReLU"] * 2, "Linear"]
    assert model(IMAGES).shape == (4, 10)
    assert [type(m).__name__ for m in MLP((3, 2)).layers] == ["Flatten", "Linear"]


@pytest.mark.parametrize(
    "model",
    [
        PlainConvNet(),
        ResNet(),
        resnet(8, in_channels=1),
        cifar_resnet(8, 4, in_channels=1),
        MLP((64, 8, 10), nn.BatchNorm1d),
    ],
    ids=lambda model: type(model).__name__,
)
def test_tools_can_read_them(model: nn.Module) -> None:
    model.eval()
    expected = model(IMAGES)
    with unchecked():  # a proxy of torch.fx is no tensor to the checks that only the tests switch on
        traced = torch.fx.symbolic_trace(model)
    assert torch.equal(traced(IMAGES), expected)
    exported = torch.export.export(model, (IMAGES,)).module()
    assert torch.allclose(exported(IMAGES), expected, atol=1e-6)
    model(IMAGES).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_wrong_sizes_are_named() -> None:
    with pytest.raises(ValueError, match="depth is 19"):
        resnet(19)
    with pytest.raises(ValueError, match="depth is 15"):
        cifar_resnet(15)
    with pytest.raises(ValueError, match="blocks is 0 and width is 16"):
        CIFARResNet(0)
    with pytest.raises(ValueError, match="at least one stage"):
        BasicResNet([])
    with pytest.raises(ValueError, match="an input and an output width"):
        MLP((3,))
