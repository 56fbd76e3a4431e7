"""bake: what is left is a plain network that computes the same."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from normkit.weights import WSConv2d, ZeroMeanLinear, bake, weight_standardization, zero_mean_output


def network() -> nn.Sequential:
    shared = weight_standardization(nn.Conv2d(4, 4, 3, padding=1), gain=True)
    layers = [WSConv2d(3, 4, 3), shared, shared, nn.Flatten(), ZeroMeanLinear(36, 6), zero_mean_output(nn.Linear(6, 5))]
    return nn.Sequential(*layers)


def test_a_whole_network_becomes_plain() -> None:
    model, x = network().eval(), torch.randn(2, 3, 5, 5)
    wanted = model(x)
    assert bake(model) is model
    assert [type(layer) for layer in model] == [nn.Conv2d, nn.Conv2d, nn.Conv2d, nn.Flatten, nn.Linear, nn.Linear]
    assert model[1] is model[2]
    assert not [name for name in model.state_dict() if "original" in name or "gain" in name]
    torch.testing.assert_close(model(x), wanted, rtol=1e-5, atol=1e-5)


def test_the_copy_it_was_made_of_keeps_its_parametrisations() -> None:
    model, x = network(), torch.randn(2, 3, 5, 5)
    wanted = model(x)
    bake(copy.deepcopy(model))
    assert torch.equal(model(x), wanted)


def test_other_parametrisations_are_left_alone() -> None:
    other = parametrizations.orthogonal(nn.Linear(4, 4))
    mixed = weight_standardization(parametrizations.weight_norm(nn.Linear(4, 4)))
    names = [tuple(module.state_dict()) for module in (other, mixed)]
    bake(nn.Sequential(other, mixed))
    assert [tuple(module.state_dict()) for module in (other, mixed)] == names


@pytest.mark.parametrize("trainable", [True, False])
def test_what_trains_and_what_is_frozen_stays_so(trainable: bool) -> None:
    for module in (WSConv2d(3, 4, 3), weight_standardization(nn.Conv2d(3, 4, 3)), zero_mean_output(nn.Linear(3, 4))):
        module.requires_grad_(trainable)
        assert all(parameter.requires_grad is trainable for parameter in bake(module).parameters())
