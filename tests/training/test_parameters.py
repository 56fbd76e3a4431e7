import pytest
import torch
from torch import nn

from normkit.training import parameter_groups


def test_maps_decay_and_gains_and_biases_do_not() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2), nn.LayerNorm((3, 5)))
    decayed, free = parameter_groups(model, 0.1)
    assert decayed["weight_decay"] == 0.1
    assert free["weight_decay"] == 0
    assert {id(p) for p in decayed["params"]} == {id(model[0].weight), id(model[3].weight)}
    assert len(decayed["params"]) + len(free["params"]) == len(list(model.parameters()))


def test_a_gain_for_each_group_of_channels_is_no_map() -> None:
    model = nn.Module()
    model.weight = nn.Parameter(torch.ones(1, 4, 1))
    (free,) = parameter_groups(model, 0.1)
    assert free["weight_decay"] == 0


def test_frozen_and_shared_parameters() -> None:
    shared = nn.Linear(2, 2, bias=False)
    frozen = nn.Linear(2, 2, bias=False).requires_grad_(False)
    (decayed,) = parameter_groups(nn.Sequential(shared, frozen, shared), 0.1)
    assert [id(p) for p in decayed["params"]] == [id(shared.weight)]


def test_nothing_to_train_is_named() -> None:
    with pytest.raises(ValueError, match="nothing to train"):
        parameter_groups(nn.ReLU(), 0.1)
    with pytest.raises(ValueError, match="must not be negative"):
        parameter_groups(nn.Linear(1, 1), -1.0)
