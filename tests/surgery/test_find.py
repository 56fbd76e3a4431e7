"""Modules and parameters are found at all their paths, shared ones once."""

import pytest
from torch import nn

from normkit import surgery


def shared_net() -> nn.Module:
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    net.append(net[0])
    return net


def test_a_shared_module_is_found_once_and_at_all_its_paths():
    net = shared_net()
    assert [path for path, _ in surgery.find(net, nn.Linear)] == ["0", "2"]
    assert surgery.paths(net, net[0]) == ["0", "3"]
    assert surgery.paths(net, nn.Linear(3, 3)) == []


def test_the_model_itself_has_the_empty_path():
    net = nn.Linear(2, 2)
    assert surgery.find(net) == [("", net)]
    assert surgery.submodule(net, "") is net


def test_a_wrong_path_says_how_far_it_leads():
    with pytest.raises(ValueError, match=r"no module '0.weight': '0' has no children"):
        surgery.submodule(shared_net(), "0.weight")
    with pytest.raises(ValueError, match=r"no module '9': 'Sequential' has 0, 1, 2, 3"):
        surgery.submodule(shared_net(), "9")


def test_ties_are_one_tensor_in_two_modules_not_one_module_twice():
    net = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5, bias=False))
    assert surgery.ties(shared_net()) == []
    assert surgery.ties(net) == []
    net[1].weight = net[0].weight
    assert surgery.ties(net) == [("0.weight", "1.weight")]
