"""BatchNorm is folded into the map before or behind it, and only where that is exact."""

import re

import pytest
import torch
from torch import nn

from normkit import weights
from normkit.conversion import ConversionError, convert
from tests.conversion.instances import excite, images, residual_net

MAPS = {
    "conv1d": (lambda: (nn.Conv1d(4, 6, 3, groups=2), nn.BatchNorm1d(6)), (3, 4, 9)),
    "conv2d": (lambda: (nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(6)), (3, 4, 7, 7)),
    "conv3d": (lambda: (nn.Conv3d(2, 4, 2), nn.BatchNorm3d(4)), (2, 2, 4, 4, 4)),
    "transposed": (lambda: (nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), nn.BatchNorm2d(6)), (3, 4, 5, 5)),
    "linear": (lambda: (nn.Linear(5, 3), nn.BatchNorm1d(3)), (4, 5)),
    "plain norm": (lambda: (nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6, affine=False)), (3, 4, 5, 5)),
    "linear behind": (lambda: (nn.Tanh(), nn.BatchNorm1d(5), nn.Linear(5, 3, bias=False)), (4, 5)),
}


def settled(*modules: nn.Module, shape: tuple[int, ...]) -> tuple[nn.Module, torch.Tensor]:
    net, x = excite(nn.Sequential(*modules)), torch.randn(shape) * 2 + 1
    for _ in range(5):
        net(x)
    return net, x


@pytest.mark.parametrize("name", MAPS)
def test_is_exact(name: str):
    build, shape = MAPS[name]
    net, x = settled(*build(), shape=shape)
    conversion = convert(net, "fold", example=x)
    assert conversion.max_rel_diff < 1e-12
    assert not [module for module in conversion.model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert [type(module).__name__ for module in conversion.model].count("Identity") == 1


def test_a_residual_net_is_folded_whole():
    conversion = convert(residual_net(), "fold", data=images())
    assert conversion.max_rel_diff < 1e-12
    assert not conversion.skipped
    assert "evaluation only" in conversion.remarks[0]


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.last = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        y = self.conv(x)
        return self.last(self.bn(y)) + y


def standardised() -> nn.Module:
    return nn.Sequential(weights.weight_standardization(nn.Conv2d(1, 4, 3)), nn.BatchNorm2d(4))


def shared() -> nn.Module:
    conv = nn.Conv2d(1, 1, 3)
    return nn.Sequential(conv, nn.BatchNorm2d(1), conv)


def tied() -> nn.Module:
    net = nn.Sequential(nn.Conv2d(1, 1, 3), nn.BatchNorm2d(1), nn.Conv2d(1, 1, 3))
    net[2].weight = net[0].weight
    return net


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (Twice, r"output of conv before it is read elsewhere .*; and behind it stands last, a Conv2d"),
        (standardised, "parametrised: bake it first"),
        (shared, "runs several times"),
        (tied, "is tied to another"),
        (
            lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)),
            "no running statistics",
        ),
        (lambda: nn.Sequential(nn.ReLU(), nn.BatchNorm2d(1)), "before it stands 0, a ReLU"),
    ],
)
def test_what_is_not_exact_is_refused(build, reason: str):
    with pytest.raises(ConversionError, match=reason):
        convert(build(), "fold", data=images())


@pytest.mark.parametrize("order", [1, -1])
def test_a_linear_layer_over_another_axis_than_the_channels_is_refused(order: int):
    """Over (batch, channels, length) a BatchNorm1d reads the channels and a linear layer the length."""
    net, shape = (nn.Linear(5, 6), nn.BatchNorm1d(4))[::order], (2, 4, 5)
    if order == -1:
        net = (nn.BatchNorm1d(4), nn.Linear(5, 6))
    with pytest.raises(ConversionError, match=r"another axis than its channels|other axes than its channels"):
        convert(nn.Sequential(*net), "fold", example=torch.randn(shape))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)),
        lambda: nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 4)),
        lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)),
    ],
)
def test_as_long_as_there_are_channels_only_the_wrong_site_is_skipped(wrong):
    """(batch, channels, length) with as many channels as entries: sizes do not tell the axes apart."""
    right = nn.Sequential(nn.Conv1d(4, 4, 1), nn.BatchNorm1d(4))
    net, x = settled(right, nn.Tanh(), wrong(), shape=(3, 4, 4))
    conversion = convert(net, "fold", example=x)
    assert conversion.max_rel_diff < 1e-12
    assert [entry["path"].rpartition(".")[0] for entry in conversion.skipped] == ["2"]
    assert re.search("another axis than its channels|other axes than its channels", conversion.skipped[0]["reason"])
    assert isinstance(conversion.model[0][1], nn.Identity)


def test_a_convolution_of_an_unbatched_signal_is_skipped():
    """(channels, length) is (batch, channels) to the BatchNorm."""
    net, x = settled(nn.Conv1d(4, 4, 1), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 4), nn.BatchNorm1d(4), shape=(4, 4))
    conversion = convert(net, "fold", example=x)
    assert [entry["path"] for entry in conversion.skipped] == ["1"]
    assert isinstance(conversion.model[4], nn.Identity)


def test_baked_weights_fold():
    net = weights.bake(standardised())
    assert convert(net, "fold", data=images()).max_rel_diff < 1e-12
