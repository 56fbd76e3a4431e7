"""An activation that is no module of its own is taken out of the forward that calls it."""

import copy
import os
import pickle
import subprocess
import sys

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


def twice_rewritten() -> nn.Module:
    net = surgery.copy(residual_net().eval())
    surgery.bypass(net, "", "bn")
    surgery.bypass(net, "blocks.1", "blocks.1.bn1")
    surgery.bypass(net, "blocks.0", "blocks.0.bn1")
    return net


@pytest.mark.parametrize("protocol", [0, 2, pickle.HIGHEST_PROTOCOL])
def test_a_rewritten_network_can_be_pickled(protocol: int):
    net, x = twice_rewritten(), images()[0]
    net.note = "an attribute"
    again = pickle.loads(pickle.dumps(net, protocol))
    assert torch.equal(again(x), net(x))
    assert not torch.equal(residual_net().eval()(x), net(x))
    assert isinstance(again, type(residual_net()))
    assert again.note == "an attribute"
    assert torch.equal(pickle.loads(pickle.dumps(again, protocol))(x), net(x))


def test_a_rewritten_network_is_saved_whole_and_opened_in_another_process(tmp_path):
    net, x = twice_rewritten(), images()[0]
    torch.save(net, tmp_path / "net.pt")
    torch.save(x, tmp_path / "x.pt")
    code = "net, x = (torch.load(name, weights_only=False) for name in ('net.pt', 'x.pt')); torch.save(net(x), 'y.pt')"
    places = os.pathsep.join(path for path in sys.path if path)
    subprocess.run(
        [sys.executable, "-c", f"import torch; {code}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": places},
        check=True,
    )
    assert torch.equal(torch.load(tmp_path / "y.pt"), net(x))


class Two(nn.Module):
    """Two norms in one forward, and a function with constants in its call."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.BatchNorm2d(1), nn.BatchNorm2d(1)

    def forward(self, x):
        return F.relu(self.two(F.max_pool2d(F.leaky_relu(self.one(x), 0.5).to(torch.float64), 2).float()))


def test_a_forward_is_rewritten_once_more():
    net, x = Two().eval(), images()[0]
    surgery.bypass(net, "", "one")
    surgery.bypass(net, "", "two")
    wanted = net.two(F.max_pool2d(net.one(x), 2))
    for other in (net, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        torch.testing.assert_close(other(x), wanted)
    assert type(net).__mro__[1] is Two


def test_a_traced_network_is_rewritten_and_copied():
    net, x = torch.fx.symbolic_trace(Two().eval()), images()[0]
    surgery.bypass(net, "", "one")
    wanted = F.relu(net.two(F.max_pool2d(net.one(x), 2)))
    for other in (net, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        torch.testing.assert_close(other(x), wanted)


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
