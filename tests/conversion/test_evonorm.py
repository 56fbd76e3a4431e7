"""A norm and the activation behind it become one EvoNorm, wherever the activation is written."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from normkit import nn as layers
from normkit.conversion import ConversionError, ToEvoNorm, ToEvoNormB0, ToEvoNormS0, convert
from tests.conversion.instances import conv_net, excite, images, residual_net

KINDS = {
    f"evonorm-{kind.lower()}": getattr(layers, f"EvoNorm2d{kind}") for kind in ("B0", "B1", "B2", "S0", "S1", "S2")
}
each_slug = pytest.mark.parametrize("slug", list(KINDS))


@each_slug
def test_in_a_sequential_the_activation_becomes_an_identity(slug: str):
    conversion = convert(conv_net(), slug, data=images())
    names = [type(module).__name__ for module in conversion.model]
    evonorm = KINDS[slug].__name__
    assert names[:6] == ["Conv2d", evonorm, "Identity", "Conv2d", evonorm, "Identity"]
    assert conversion.model[1].apply_act


@each_slug
def test_in_a_residual_net_functions_and_shared_modules_are_absorbed(slug: str):
    net = residual_net()
    conversion = convert(net, slug, data=images())
    new = conversion.model
    assert not conversion.skipped
    norms = {path: module for path, module in new.named_modules() if isinstance(module, KINDS[slug])}
    assert {path for path, norm in norms.items() if norm.apply_act} == {"bn", "blocks.0.bn1", "blocks.1.bn1"}
    assert isinstance(new.blocks[0].relu, nn.ReLU)  # it still stands behind the sum
    assert {change["path"] for change in conversion.changes if "forward" in change["from"]} == {
        "",
        "blocks.0",
        "blocks.1",
    }
    assert type(net.blocks[0]).forward is not type(new.blocks[0]).forward


@each_slug
def test_a_norm_without_activation_becomes_affine_exactly(slug: str):
    torch.manual_seed(0)
    net = excite(nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)))
    for batch in images() * 4:
        net(batch)
    conversion = convert(net, slug, data=images())
    assert not conversion.model[1].apply_act
    assert conversion.changes[0]["why"].startswith("no known activation reads it (but output)")
    assert conversion.max_rel_diff < 1e-6


@pytest.mark.parametrize("act", [nn.ReLU(), nn.SiLU(), nn.GELU(), nn.Hardswish()])
@each_slug
def test_the_fit_explains_most_of_what_the_layer_did(slug: str, act: nn.Module):
    torch.manual_seed(0)
    net = excite(nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), act))
    for batch in images() * 4:
        net(batch)
    new = convert(net, slug, data=images()).model
    with torch.no_grad():
        expected, got = net.eval()(torch.cat(images())), new.eval()(torch.cat(images()))
    left = ((expected - got).square().mean((0, 2, 3)) / expected.var((0, 2, 3))).mean()
    assert left < 0.5


def test_statistics_of_b0_are_those_of_its_inputs():
    net = conv_net()
    new = convert(net, "evonorm-b0", data=images()).model
    inputs = torch.cat([net[0](batch) for batch in images()])
    torch.testing.assert_close(new[1].running_var, inputs.var((0, 2, 3)), rtol=1e-4, atol=1e-5)


def test_options_of_the_functional_activation_are_kept():
    class Leaky(nn.Module):
        def __init__(self):
            super().__init__()
            self.bn = nn.BatchNorm2d(1)

        def forward(self, x):
            return F.leaky_relu(self.bn(x), negative_slope=0.3)

    conversion = convert(Leaky(), ToEvoNormB0(), data=images())
    function = conversion.recipe["steps"][0]["sites"][0]["details"]["function"]
    assert function["name"] == "leaky_relu"
    assert function["options"]["negative_slope"] == 0.3


class Optional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(1)

    def forward(self, x, scale=None):
        return F.relu(self.bn(x))


class Both(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bn, self.act = nn.BatchNorm2d(1), nn.ReLU()

    def forward(self, x):
        y = self.bn(x)
        return self.act(y) + y


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (Optional, r"relu cannot be taken out: Optional.forward takes optional arguments"),
        (Both, "read by an activation and by something else"),
        (lambda: nn.Sequential(nn.BatchNorm1d(3), nn.ReLU()), r"made for \(B, C, H, W\)"),
    ],
)
def test_what_cannot_be_absorbed_is_refused(build, reason: str):
    net = build()
    data = [torch.randn(4, 3)] if isinstance(net, nn.Sequential) else images()
    with pytest.raises(ConversionError, match=reason):
        convert(net, "evonorm-s0", data=data)


def test_the_rule_by_its_letter():
    assert ToEvoNorm("s0", groups=4) == ToEvoNormS0(groups=4)
    assert ToEvoNorm(kind="b0") == ToEvoNormB0()
    assert ToEvoNorm("s2", groups=4).slug == "evonorm-s2"
    with pytest.raises(ValueError, match="kind is 's3': it must be one of b0, b1, b2, s0, s1, s2"):
        ToEvoNorm("s3")
