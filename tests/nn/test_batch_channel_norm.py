"""BatchChannelNorm2d: its two halves, its groups, the checkpoints it reads, and what it refuses."""

import pytest
import torch

from normkit import functional
from normkit.nn import BatchChannelNorm2d, EstBatchNorm2d


def test_is_group_normalisation_of_its_inner_normaliser() -> None:
    layer, x = BatchChannelNorm2d(8, 4, style="batch"), torch.randn(4, 8, 5, 5)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    inner = layer.bn(x)
    grouped = torch.nn.functional.group_norm(inner, 4).reshape(4, 4, -1)
    wanted = (grouped * layer.weight + layer.bias).reshape(x.shape)
    torch.testing.assert_close(layer(x), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("style", ["estimate", "batch"])
def test_the_function_does_what_the_layer_does(style: str) -> None:
    layer, x = BatchChannelNorm2d(6, 3, style=style, speed=0.1, dtype=torch.float64), torch.randn(4, 6, 3, 3).double()
    mean, variance = layer.bn.running_mean.clone(), layer.bn.running_var.clone()
    affine = (layer.bn.weight, layer.bn.bias, 3, layer.weight, layer.bias)
    y = functional.batch_channel_norm(x, mean, variance, *affine, training=True, style=style, speed=0.1)
    torch.testing.assert_close(y, layer(x))
    torch.testing.assert_close(mean, layer.bn.running_mean)
    torch.testing.assert_close(variance, layer.bn.running_var)


@pytest.mark.parametrize(
    ("channels", "groups"), [(1, 1), (2, 1), (3, 1), (4, 2), (6, 3), (7, 1), (12, 6), (64, 32), (96, 32), (100, 25)]
)
def test_auto_groups(channels: int, groups: int) -> None:
    """The largest divisor up to 32 that leaves two channels to a group."""
    assert BatchChannelNorm2d(channels, "auto").num_groups == groups


def test_hooks_on_the_inner_normaliser_fire() -> None:
    layer, seen = BatchChannelNorm2d(4, 2, style="batch"), []
    layer.bn.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    layer(torch.randn(2, 4, 3, 3))
    assert seen == [(2, 4, 3, 3)]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("style", ["estimate", "batch"])
def test_one_operation_does_what_the_two_halves_do(style: str, training: bool) -> None:
    """A hook on the inner normaliser makes the layer call it; without one both halves are one operation."""
    fused, halved = (BatchChannelNorm2d(6, 3, style=style) for _ in range(2))
    for layer in (fused, halved):
        layer.train(training)
        layer.bn.running_mean.fill_(0.3)
    halved.bn.register_forward_hook(lambda *_: None)
    x = torch.randn(4, 6, 5, 5)
    for _ in range(2):
        torch.testing.assert_close(fused(x), halved(x))
    for name, value in halved.state_dict().items():
        torch.testing.assert_close(fused.state_dict()[name], value)
    assert fused.bn.num_batches_tracked == (2 if training else 0)


def test_a_frozen_inner_normaliser_stands_still() -> None:
    layer = BatchChannelNorm2d(4, 2)
    layer.bn.eval()
    layer(torch.randn(2, 4, 3, 3) + 5)
    assert torch.equal(layer.bn.running_mean, torch.zeros(4))
    assert layer.bn.num_batches_tracked == 0


def test_the_batch_style_can_be_synchronised_by_torchs_own_conversion() -> None:
    layer = torch.nn.SyncBatchNorm.convert_sync_batchnorm(BatchChannelNorm2d(4, 2, style="batch"))
    assert isinstance(layer.bn, torch.nn.SyncBatchNorm)


def test_reads_checkpoints_that_call_the_inner_normaliser_pbn() -> None:
    source, layer = BatchChannelNorm2d(4, 2, style="batch"), BatchChannelNorm2d(4, 2, style="batch")
    source(torch.randn(3, 4, 2, 2))
    renamed = {f"net.{name.replace('bn.', 'pbn.')}": value for name, value in source.state_dict().items()}
    torch.nn.ModuleDict({"net": layer}).load_state_dict(renamed, strict=True)
    assert torch.equal(layer.bn.running_mean, source.bn.running_mean)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="12 channels cannot be cut into 32 groups; what fits is 1, 2, 3, 4, 6, 12"):
        BatchChannelNorm2d(12)
    with pytest.raises(ValueError, match="style is 'estimate' or 'batch', not 'both'"):
        BatchChannelNorm2d(4, 2, style="both")
    with pytest.raises(ValueError, match="num_groups is a number or 'auto', not 'all'"):
        BatchChannelNorm2d(4, "all")
    with pytest.raises(ValueError, match=r"speed must lie in \[0, 1\]"):
        BatchChannelNorm2d(4, 2, speed=-0.1)
    with pytest.raises(ValueError, match="a group of one value has no variance"):
        BatchChannelNorm2d(4, 4)(torch.randn(2, 4, 1, 1))
    layer = BatchChannelNorm2d(4, 2)
    assert isinstance(layer.bn, EstBatchNorm2d)
    layer.bn.speed = 0.0
    with pytest.raises(ValueError, match="speed is 0"):
        layer(torch.randn(2, 4, 3, 3))


@pytest.mark.parametrize(("style", "speed"), [("estimate", 0.0), ("estimate", 1.5), ("batch", -0.1), ("batch", 1.5)])
def test_a_speed_of_the_function_outside_its_range_is_refused_in_training(style: str, speed: float) -> None:
    x, ones, groups = torch.randn(2, 4, 3, 3), torch.ones(4), torch.ones(1, 2, 1)
    mean, variance = torch.zeros(4), torch.ones(4)
    arguments = (x, mean, variance, ones, ones, 2, groups, groups)
    with pytest.raises(ValueError, match=rf"speed must lie in \(0, 1\].*got {speed}"):
        functional.batch_channel_norm(*arguments, True, style, speed)
    functional.batch_channel_norm(*arguments, False, style, speed)
    assert torch.equal(mean, torch.zeros(4))
