import pytest
import torch
from torch import Tensor, nn

from normkit.models import TransformerDecoderLayer
from normkit.models.transformer import PLACEMENTS

WIDTH, HEADS, INNER = 16, 4, 24


def layer(placement: str, **options: object) -> TransformerDecoderLayer:
    torch.manual_seed(0)
    built = TransformerDecoderLayer(
        WIDTH, HEADS, INNER, dropout=0.0, batch_first=True, dtype=torch.float64, placement=placement, **options
    )
    for parameter in built.parameters():
        nn.init.normal_(parameter, std=0.3)
    return built


def inputs() -> tuple[Tensor, Tensor]:
    return torch.randn(2, 5, WIDTH, dtype=torch.float64), torch.randn(2, 3, WIDTH, dtype=torch.float64)


@pytest.mark.parametrize("placement", ["pre", "post"])
def test_pre_and_post_are_torchs_own(placement: str) -> None:
    ours = layer(placement)
    theirs = nn.TransformerDecoderLayer(
        WIDTH, HEADS, INNER, 0.0, batch_first=True, norm_first=placement == "pre", dtype=torch.float64
    )
    theirs.load_state_dict(ours.state_dict())
    x, memory = inputs()
    causal = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    padding = torch.tensor([[False] * 5, [False] * 4 + [True]])
    memory_padding = torch.tensor([[False] * 3, [False, False, True]])
    masks = {"tgt_key_padding_mask": padding, "memory_key_padding_mask": memory_padding}
    for options in ({}, {"tgt_mask": causal, "tgt_is_causal": True}, masks):
        expected, got = theirs(x, memory, **options), ours(x, memory, **options)
        assert torch.allclose(got[~padding], expected[~padding], atol=1e-12)


@pytest.mark.parametrize("norm", ["layer", "rms"])
@pytest.mark.parametrize("placement", ["peri", "output"])
def test_a_layer_is_its_equation(placement: str, norm: str) -> None:
    built = layer(placement, norm=norm)
    x, memory = inputs()
    y = x
    reads = (
        lambda z: built.self_attn(z, z, z)[0],
        lambda z: built.multihead_attn(z, memory, memory)[0],
        lambda z: built.linear2(torch.relu(built.linear1(z))),
    )
    for place, branch in enumerate(reads, 1):
        into = getattr(built, f"norm{place}") or nn.Identity()
        y = y + getattr(built, f"norm{place}_out")(branch(into(y)))
    assert torch.allclose(built(x, memory), y, atol=1e-12)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_it_stands_in_torchs_decoder_and_is_exported(placement: str) -> None:
    decoder = nn.TransformerDecoder(layer(placement), 2).eval()
    x, memory = inputs()
    exported = torch.export.export(decoder, (x, memory))
    assert torch.allclose(exported.module()(x, memory), decoder(x, memory), atol=1e-12)


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="placement is 'middle': it must be one of pre, post, peri, output"):
        TransformerDecoderLayer(WIDTH, HEADS, placement="middle")
    with pytest.raises(ValueError, match="the heads must divide the width"):
        TransformerDecoderLayer(WIDTH, 3)
