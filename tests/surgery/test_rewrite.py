"""An activation that is no module of its own is taken out of the forward that calls it."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from normkit import surgery
from tests.conversion.instances import Block, images, residual_net


def test_a_function_is_taken_out_and_the_class_stays_recognisable():
    net = residual_net().eval()
    keys, head = [*net.state_dict()], net.head
    surgery.bypass(net, "", "bn")
    x = images()[0]
    wanted = net.head(net.blocks(net.bn(net.conv(x))).mean((2, 3)))
    torch.testing.assert_close(net(x), wanted)
    assert type(net).__name__ == "ResidualNet"
    assert isinstance(net, type(residual_net()))
    assert [*net.state_dict()] == keys
    assert net.head is head
    assert not net.training


def test_a_shared_module_stays_for_its_other_place():
    net = residual_net().eval()
    surgery.bypass(net, "blocks.0", "blocks.0.bn1")
    block, x = net.blocks[0], torch.randn(2, 8, 4, 4)
    wanted = F.relu(block.bn2(block.conv2(block.bn1(block.conv1(x)))) + x)
    torch.testing.assert_close(block(x), wanted)
    assert type(net.blocks[1]) is Block  # nobody else's forward changed


def test_copies_keep_the_new_forward():
    net = residual_net().eval()
    surgery.bypass(net, "", "bn")
    x = images()[0]
    assert torch.equal(copy.deepcopy(net)(x), net(x))


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (lambda self, x: F.dropout(self.act(self.bn(x)), 0.5, self.training), "depends on `training`"),
        (lambda self, x, scale=None: self.act(self.bn(x)), "takes optional arguments"),
        (lambda self, x: self.act(self.bn(x)) if x.sum() > 0 else x, "cannot trace"),
        (lambda self, x: self.bn(x) + self.act(self.bn(x)), "has 2 calls"),
        (lambda self, x: self.bn(x) * 2, "is no activation"),
    ],
)
def test_what_cannot_be_rewritten_is_refused_with_its_reason_and_left_alone(forward, reason):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.bn, self.act = nn.BatchNorm1d(2), nn.ReLU()

    Net.forward = forward
    net = Net()
    with pytest.raises(ValueError, match=reason):
        surgery.bypass(net, "", "bn")
    assert type(net) is Net
    assert net.training
