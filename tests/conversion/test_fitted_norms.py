"""Batch-channel norm, group norm and standardised weights: fitted to what the old layers did, or refused."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from normkit.conversion import (
    ConversionError,
    ToBatchChannelNorm,
    ToEvoNormS0,
    ToGroupNorm,
    ToWeightStandardization,
    convert,
)
from normkit.weights import WSConv2d
from tests.conversion.instances import conv_net, excite, images, residual_net


def error(before: nn.Module, after: nn.Module) -> float:
    """Mean squared difference over the variance of the output."""
    with torch.no_grad():
        pairs = [(before.eval()(batch), after.eval()(batch)) for batch in images()]
    expected, got = (torch.cat(side) for side in zip(*pairs, strict=True))
    return ((expected - got).square().mean() / expected.var()).item()


def one_norm(norm: nn.Module, channels: int = 8) -> nn.Module:
    torch.manual_seed(1)
    net = excite(nn.Sequential(nn.Conv2d(1, channels, 3, bias=False), norm))
    for batch in images() * 5:
        net(batch)
    return net


def test_the_inner_norm_takes_over_statistics_and_affine_parameters():
    net = one_norm(nn.BatchNorm2d(8))
    new = convert(net, ToBatchChannelNorm(groups=4), data=images()).model[1]
    for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(getattr(new.bn, name), getattr(net[1], name)), name


def test_the_channel_part_is_the_least_squares_solution():
    net = one_norm(nn.BatchNorm2d(8))
    new = convert(net, ToBatchChannelNorm(groups=4), data=images()).model
    best = error(net, new)
    for index in range(4):
        for name in ("weight", "bias"):
            for step in (-1e-2, 1e-2):
                parameter = getattr(new[1], name)
                with torch.no_grad():
                    parameter[0, index] += step
                    assert error(net, new) > best
                    parameter[0, index] -= step


def test_a_group_norm_becomes_a_batch_channel_norm_with_measured_statistics():
    net = one_norm(nn.GroupNorm(4, 8))
    new = convert(net, ToBatchChannelNorm(groups=4, style="batch"), data=images()).model
    inputs = torch.cat([net[0](batch) for batch in images()])
    torch.testing.assert_close(new[1].bn.running_mean, inputs.mean((0, 2, 3)))
    torch.testing.assert_close(new[1].bn.running_var, inputs.var((0, 2, 3)), rtol=1e-4, atol=1e-5)
    assert error(net, new) < 0.1


def test_group_norm_of_single_channels_is_fitted_per_channel():
    net = one_norm(nn.BatchNorm2d(8))
    new = convert(net, ToGroupNorm(groups=4), data=images()).model
    best = error(net, new)
    with torch.no_grad():
        new[1].weight[3] *= 1.01
    assert error(net, new) > best


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(6), nn.BatchNorm3d(6)])
def test_group_norm_serves_other_dimensions(norm: nn.Module):
    shape = (4, 6, 9) if isinstance(norm, nn.BatchNorm1d) else (2, 6, 3, 3, 3)
    conversion = convert(nn.Sequential(norm), "group-norm", data=[torch.randn(shape)])
    assert isinstance(conversion.model[0], nn.GroupNorm)
    assert conversion.model[0].num_groups == 3


@pytest.mark.parametrize("style", ["estimate", "batch"])
def test_the_style_is_the_users_and_its_inner_norm_is_left_alone(style: str):
    conversion = convert(conv_net(), ToBatchChannelNorm(style=style), data=images())
    assert conversion.model[1].style == style
    with pytest.raises(ConversionError, match="it has no BatchNorm"):
        convert(conversion.model, "group-norm", data=images())


@pytest.mark.parametrize(
    ("rule", "net", "reason"),
    [
        (ToBatchChannelNorm(groups=5), conv_net, "8 channels cannot be"),
        (ToGroupNorm(groups=5), conv_net, r"8 channels cannot be parted into 5 groups; \[1, 2, 4, 8\]"),
        (ToBatchChannelNorm(), lambda: nn.Sequential(nn.BatchNorm3d(4)), r"made for \(B, C, H, W\)"),
        (ToGroupNorm(), lambda: nn.Sequential(Own(1)), "a Own with a forward of its own"),
    ],
)
def test_what_does_not_fit_is_refused(rule, net, reason: str):
    data = [torch.randn(2, 4, 3, 3, 3)] if "BatchNorm3d" in repr(net()) else images()
    with pytest.raises(ConversionError, match=reason):
        convert(net(), rule, data=data)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: ToGroupNorm(groups=0), "at least 1, got 0"),
        (lambda: ToGroupNorm(groups="some"), "at least 1, got 'some'"),
        (lambda: ToGroupNorm(groups=True), "at least 1, got True"),
        (lambda: ToEvoNormS0(groups=0), "at least 1, got 0"),
        (lambda: ToBatchChannelNorm(groups=-1), "at least 1, got -1"),
        (lambda: ToBatchChannelNorm(style="foo"), "style is 'estimate' or 'batch', not 'foo'"),
        (lambda: ToBatchChannelNorm(speed=2.0), r"speed must lie in \[0, 1\]"),
        (lambda: ToWeightStandardization(variant="foo"), "variant is 'official', 'bcn' or 'timm', not 'foo'"),
    ],
)
def test_an_option_that_can_fit_nowhere_is_refused_when_it_is_given(make, reason: str):
    with pytest.raises(ValueError, match=reason):
        make()


def test_a_reason_is_given_once_with_the_number_of_its_sites():
    net = nn.Sequential(*(nn.BatchNorm2d(8) for _ in range(4)))
    with pytest.raises(ConversionError) as refusal:
        convert(net, ToGroupNorm(groups=7), data=[torch.randn(2, 8, 3, 3)])
    told = str(refusal.value)
    assert told.count("cannot be parted") == 1
    assert "0 and 3 more: 8 channels cannot be parted into 7 groups" in told
    assert len(refusal.value.skipped) == 4


class Own(nn.BatchNorm2d):
    def forward(self, input):
        return super().forward(input).relu()


def test_standardised_filters_have_mean_0_and_variance_1():
    net = residual_net()
    new = convert(net, "weight-standardization", data=images()).model
    for path, module in new.named_modules():
        if isinstance(module, nn.Conv2d):
            assert parametrize.is_parametrized(module), path
            filters = module.weight.flatten(1)
            torch.testing.assert_close(filters.mean(1), torch.zeros(len(filters)), atol=1e-5, rtol=0)
            torch.testing.assert_close(filters.std(1), torch.ones(len(filters)), atol=1e-3, rtol=0)


def test_a_filter_without_mean_loses_nothing():
    """Where only the scale is taken from the filter, the norm behind it gives back everything."""
    torch.manual_seed(2)
    net = one_norm(nn.BatchNorm2d(8))
    with torch.no_grad():
        net[0].weight -= net[0].weight.mean((1, 2, 3), keepdim=True)
    net.train()
    for batch in images() * 30:
        net(batch)
    assert error(net, convert(net, "weight-standardization", data=images()).model) < 1e-4


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(8), nn.GroupNorm(4, 8), nn.InstanceNorm2d(8, affine=True)])
def test_the_norm_behind_is_fitted(norm: nn.Module):
    net = one_norm(norm)
    fitted = convert(net, ToWeightStandardization(), data=images()).model
    rough = convert(net, ToWeightStandardization(fit=False), data=images()).model
    assert error(net, fitted) < error(net, rough)


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)), "1 behind it is no normaliser"),
        (lambda: nn.Sequential(nn.Conv2d(1, 1, 1, groups=1), nn.BatchNorm2d(1)), "a single weight each"),
        (lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.LayerNorm(6)), "cannot be solved for; with fit=False"),
    ],
)
def test_weights_that_nothing_makes_up_for_are_left(net, reason: str):
    with pytest.raises(ConversionError, match=reason):
        convert(net(), "weight-standardization", data=images())


def test_what_is_standardised_already_is_left_and_what_was_there_is_named():
    net = nn.Sequential(WSConv2d(1, 4, 3), nn.BatchNorm2d(4))
    with pytest.raises(ConversionError, match="0: a WSConv2d standardises its weight already"):
        convert(net, "weight-standardization", data=images())
    changes = convert(conv_net(), "weight-standardization", data=images()).changes
    assert [change["from"] for change in changes if change["path"] == "0"] == ["Conv2d"]


def test_a_norm_that_is_not_reached_is_skipped():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.BatchNorm2d(1), nn.BatchNorm2d(1)

        def forward(self, x):
            return self.used(x)

    conversion = convert(Half(), "group-norm", data=images())
    assert conversion.skipped == [
        {"path": "unused", "reason": "it was not reached on the data, so there is nothing to fit it to"}
    ]
