"""torch's fused Transformer layer ignores a replaced norm; closing the path makes it call it."""

import copy

import torch
from torch import nn

from normkit import surgery


class Zero(nn.LayerNorm):
    """A norm that shows whether it is called."""

    def forward(self, input):
        return torch.zeros_like(input)


def layer() -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(8, 2, 16, norm_first=True, batch_first=True).eval()


def with_silent_norms(module: nn.Module) -> nn.Module:
    for path, norm in surgery.find(module, nn.LayerNorm):
        surgery.replace(module, path, Zero(norm.normalized_shape))
    return module


def test_a_replaced_norm_is_ignored_until_the_path_is_closed():
    x = torch.randn(2, 3, 8)
    module = with_silent_norms(layer())
    with torch.no_grad():
        slow = copy.deepcopy(module).train()
        for dropout in surgery.find(slow, nn.Dropout):
            dropout.module.p = 0.0
        slow.self_attn.dropout = 0.0
        wanted = slow(x)
        assert not torch.allclose(module(x), wanted)  # the trap: the fused kernel never calls Zero
        assert surgery.close_fast_path(module) == [module]
        assert torch.allclose(module(x), wanted, atol=1e-6)


def test_the_path_stays_closed_in_copies_and_leaves_the_state_alone():
    module = layer()
    keys = [*module.state_dict()]
    surgery.close_fast_path(module)
    assert [*module.state_dict()] == keys
    x = torch.randn(2, 3, 8)
    twin = with_silent_norms(copy.deepcopy(module))
    with torch.no_grad():
        assert torch.equal(twin.norm1(x), torch.zeros_like(x))
        assert not torch.allclose(twin(x), module(x))


def test_every_layer_of_an_encoder_is_closed():
    encoder = nn.TransformerEncoder(layer(), 3, enable_nested_tensor=False)
    assert len(surgery.close_fast_path(encoder)) == 3
