"""What rules are fitted to is gathered from as little of the networks as will do, and is the same whatever is kept."""

import pytest
import torch
from torch import nn

from normkit.conversion import convert
from normkit.conversion._framework import pairs
from normkit.conversion._framework.passes import run_pass
from normkit.conversion._framework.rule import rules
from tests.conversion.instances import images, residual_net

DEPTH, BATCHES = 6, 3


def chain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*(layer for _ in range(DEPTH) for layer in (nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))))


@pytest.mark.parametrize("slug", ["group-norm", "weight-standardization", "evonorm-s0"])
def test_a_pass_costs_about_half_a_forward_for_each_site_and_batch(slug: str):
    net, convolved = chain(), []
    for module in net[::2]:
        module.weight = nn.Parameter(torch.randn(1, 1, 3, 3))
        module.padding = (1, 1)
        module.register_forward_hook(lambda module, args, output: convolved.append(0))
    data = images(BATCHES)
    rule = rules()[slug]()
    run_pass(rule, net, example=data[0], batches=data)
    tracing = DEPTH
    whole, each = DEPTH * BATCHES, BATCHES * DEPTH * (DEPTH + 1) // 2  # the old network once; the new one up to a site
    assert len(convolved) <= tracing + whole + each


@pytest.mark.parametrize("slug", ["batch-channel-norm", "evonorm-s0", "group-norm", "weight-standardization"])
def test_with_no_room_to_keep_anything_the_result_is_the_same(slug: str, monkeypatch):
    wanted = convert(residual_net(), slug, data=images()).model.state_dict()
    monkeypatch.setattr(pairs, "KEPT_BYTES", 0)
    for name, tensor in convert(residual_net(), slug, data=images()).model.state_dict().items():
        assert torch.equal(tensor, wanted[name]), name


class Again(nn.Module):
    """A norm that runs more often on one batch than on the other, in a net that clears up and swallows errors."""

    def __init__(self) -> None:
        super().__init__()
        self.bn, self.last, self.aside = nn.BatchNorm2d(1), nn.Conv2d(1, 1, 1), None

    def forward(self, x):
        assert self.aside is None, "what an earlier pass left"
        self.aside = x
        try:
            for _ in range(1 + len(x) % 2):
                x = self.bn(x)
                x = x.mul_(2)
            x = self.last(x)
        except Exception:
            x = x * 0
        self.aside = None
        return x


@pytest.mark.parametrize("room", [0, 2**28])
def test_every_call_is_seen_as_it_was(room: int, monkeypatch):
    monkeypatch.setattr(pairs, "KEPT_BYTES", room)
    net, data = Again().eval(), [torch.randn(2, 1, 3, 3), torch.randn(3, 1, 3, 3)]
    scale = (net.bn.running_var + net.bn.eps).rsqrt()
    met = pairs.Pairs(pairs.Before(net, data), net, "bn")
    for _ in range(2):
        (x, once), (y, first), (z, second) = list(met)
        assert torch.equal(x, data[0])
        assert torch.equal(y, data[1])
        for left, right in ((once, x * scale), (first, y * scale), (z, first * 2), (second, z * scale)):
            torch.testing.assert_close(left, right)
    assert net.aside is None
    assert not net.bn._forward_hooks
    assert not net.bn._forward_pre_hooks


def test_a_norm_that_is_called_by_keyword_is_fitted():
    class ByName(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bn = nn.BatchNorm2d(2)

        def forward(self, x):
            return self.bn(input=x)

    new = convert(ByName(), "group-norm", data=[torch.randn(4, 2, 3, 3)]).model
    assert isinstance(new.bn, nn.GroupNorm)
