import copy

import pytest
import torch
from torch import nn

from normkit.models import QKNormAttention, Transformer
from normkit.nn import RMSNorm


def attention(norm, batch_first: bool = True, bias: bool = True) -> QKNormAttention:
    torch.manual_seed(0)
    built = QKNormAttention(16, 4, norm, bias=bias, batch_first=batch_first, dtype=torch.float64)
    for parameter in built.parameters():
        nn.init.normal_(parameter, std=0.3)
    return built


def rms(width: int) -> nn.Module:
    return RMSNorm(width, dtype=torch.float64)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_without_norms_it_is_torchs(batch_first: bool, bias: bool) -> None:
    ours = attention(lambda width: nn.Identity(), batch_first, bias)
    theirs = nn.MultiheadAttention(16, 4, bias=bias, batch_first=batch_first, dtype=torch.float64)
    theirs.load_state_dict(ours.state_dict())
    x, y = torch.randn(3, 5, 16, dtype=torch.float64), torch.randn(3, 2, 16, dtype=torch.float64)
    if not batch_first:
        x, y = x.transpose(0, 1), y.transpose(0, 1)
    mask = torch.ones(5, 5, dtype=torch.bool).triu(1)
    padding = torch.tensor([[False] * 5, [False] * 4 + [True], [False] * 5])
    heads = torch.randn(12, 5, 5, dtype=torch.float64)
    for options in (
        {},
        {"attn_mask": mask},
        {"attn_mask": heads},
        {"attn_mask": mask, "key_padding_mask": padding},
        {"attn_mask": mask, "is_causal": True},
    ):
        wanted = theirs(x, x, x, need_weights=False, **options)[0]
        assert torch.allclose(ours(x, x, x, **options)[0], wanted, atol=1e-12), options
    assert torch.allclose(ours(x, y, y)[0], theirs(x, y, y, need_weights=False)[0], atol=1e-12)
    flat = x[0] if batch_first else x[:, 0]
    assert torch.allclose(ours(flat, flat, flat)[0], theirs(flat, flat, flat, need_weights=False)[0], atol=1e-12)


def test_the_lengths_of_queries_and_keys_do_not_matter() -> None:
    """Without biases, W_q and W_k a thousand times as large attend as before: no logit grows (eps aside)."""
    built = attention(lambda width: RMSNorm(width, 1e-14, dtype=torch.float64), bias=False)
    grown = copy.deepcopy(built)
    with torch.no_grad():
        grown.in_proj_weight[:32] *= 1000
    x = torch.randn(3, 5, 16, dtype=torch.float64)
    assert torch.allclose(grown(x, x, x)[0], built(x, x, x)[0], atol=1e-9)
    assert not torch.allclose(attention(rms)(2 * x, x, x)[0], attention(lambda w: nn.Identity())(x, x, x)[0], atol=0.01)


def test_it_is_an_option_of_the_transformer() -> None:
    model = Transformer(20, 16, 2, 1, qk_norm=True, norm="rms", placement="output", max_length=8)
    assert isinstance(model.layers[0].self_attn, QKNormAttention)
    assert isinstance(model.layers[0].self_attn.k_norm, RMSNorm)
    tokens = torch.randint(20, (2, 8))
    exported = torch.export.export(model.eval(), (tokens,))
    assert torch.allclose(exported.module()(tokens), model(tokens), atol=1e-6)


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="the heads must divide the width"):
        QKNormAttention(16, 3, rms)
    x = torch.randn(2, 3, 16, dtype=torch.float64)
    with pytest.raises(ValueError, match="pass need_weights=False"):
        attention(rms)(x, x, x, need_weights=True)
