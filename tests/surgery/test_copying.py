"""A copy shares nothing with the original, not even where deepcopy leaves a closure behind."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from normkit import surgery


def patched() -> nn.Module:
    """A module whose forward was patched on the instance by a closure, as adapters and tracers do."""
    module = nn.Linear(2, 2, bias=False)
    nn.init.eye_(module.weight)
    original = module.forward

    def forward(x):
        return original(x) * module.weight.sum()

    module.forward = forward
    return module


def test_a_patched_forward_reads_the_copys_weights():
    module, x = patched(), torch.ones(1, 2)
    naive, ours = copy.deepcopy(module), surgery.copy(module)
    with torch.no_grad():
        module.weight.zero_()
    assert torch.equal(naive(x), torch.zeros(1, 2))  # the trap: deepcopy kept the original's weights
    assert torch.equal(ours(x), torch.full((1, 2), 2.0))


def test_the_original_does_not_notice_the_copy():
    module, x = patched(), torch.ones(1, 2)
    ours = surgery.copy(module)
    with torch.no_grad():
        ours.weight.zero_()
    assert torch.equal(module(x), torch.full((1, 2), 2.0))


def test_a_hooks_closure_goes_along():
    module = nn.Linear(2, 2, bias=False)
    module.register_forward_hook(lambda _, args, output: output * 0 + module.weight.sum())
    twin = surgery.copy(module)
    with torch.no_grad():
        module.weight.fill_(0)
        twin.weight.fill_(1)
    assert torch.equal(twin(torch.ones(1, 2)), torch.full((1, 2), 4.0))


def test_parametrisations_shared_modules_and_ties_are_kept():
    net = nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 3)), nn.Embedding(3, 3), nn.Linear(3, 3))
    net[2].weight = net[1].weight
    net.append(net[0])
    twin = surgery.copy(net)
    assert twin[3] is twin[0]
    assert surgery.ties(twin) == surgery.ties(net)
    assert [*twin.state_dict()] == [*net.state_dict()]
    assert twin[0].weight.data_ptr() != net[0].weight.data_ptr()


def test_a_tensor_with_history_is_named_as_the_obstacle():
    module = nn.Linear(2, 2)
    module.cached = module.weight * 2
    with pytest.raises(ValueError, match="cannot be copied: it holds a tensor that was computed with gradients"):
        surgery.copy(module)
