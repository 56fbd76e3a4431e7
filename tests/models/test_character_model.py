import pytest
import torch
from torch import nn

from normkit.models import character_model


def test_it_is_the_model_that_the_papers_share() -> None:
    model = character_model(103, placement="post", norm=nn.LayerNorm)
    assert len(model.layers) == 3
    assert model.embed.weight.shape == (103, 48)
    assert model.position.weight.shape == (48, 48)
    assert model.layers[0].linear1.weight.shape == (192, 48)
    assert model.layers[0].self_attn.num_heads == 4
    assert all(torch.is_tensor(p) and not p.any() for name, p in model.named_parameters() if name.endswith("bias"))
    matrices = torch.cat([p.flatten() for name, p in model.named_parameters() if p.ndim == 2])
    assert matrices.std().item() == pytest.approx(0.02, rel=0.01)


def test_options_go_to_the_transformer() -> None:
    model = character_model(11, 1, context=9, d_model=8, nhead=2, placement="peri", embed_norm=True)
    assert model(torch.zeros(1, 9, dtype=torch.int64)).shape == (1, 9, 11)
    assert model.embed_norm is not None
    with pytest.raises(ValueError, match="placement is 'middle'"):
        character_model(11, placement="middle")
