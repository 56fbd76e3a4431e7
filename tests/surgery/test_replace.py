"""A replacement stands everywhere where the old module stood, with its hooks and its mode."""

import pytest
import torch
from torch import nn

from normkit import surgery


def test_a_shared_module_stays_shared():
    net = nn.Sequential(nn.BatchNorm1d(3), nn.ReLU())
    net.append(net[0])
    new = surgery.replace(net, "0", nn.LayerNorm(3))
    assert net[0] is new
    assert net[2] is new


def test_mode_and_hooks_go_over_and_handles_still_remove_them():
    net = nn.Sequential(nn.BatchNorm1d(3)).eval()
    seen = []
    handle = net[0].register_forward_hook(lambda *_: seen.append("after"))
    net[0].register_forward_pre_hook(lambda module, args, kwargs: seen.append("before"), with_kwargs=True)
    surgery.replace(net, "0", nn.LayerNorm(3))
    assert not net[0].training
    net(torch.randn(2, 3))
    assert seen == ["before", "after"]
    handle.remove()
    net(torch.randn(2, 3))
    assert seen == ["before", "after", "before"]


def test_the_model_cannot_replace_itself():
    with pytest.raises(ValueError, match="the model itself cannot be replaced inside itself"):
        surgery.replace(nn.Linear(2, 2), "", nn.Identity())
    with pytest.raises(ValueError, match="there is no module"):
        surgery.replace(nn.Sequential(), "0", nn.Identity())
