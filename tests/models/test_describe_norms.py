"""Blocks of several libraries are read from their data flow; the same names mean other places in other models."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from normkit.conversion import ConversionError, convert
from normkit.models import Transformer, TransformerDecoderLayer, describe_norms
from normkit.models.transformer import PLACEMENTS
from tests.models.blocks import VisionTransformer, hugging_face


def lines(model: nn.Module, example: Any) -> list[str]:
    return str(describe_norms(model, example)).splitlines()


@pytest.mark.parametrize(
    ("name", "placement", "line"),
    [
        (
            "Gemma2",
            "peri",
            "model.layers.1: peri: x + post_attention_layernorm(attention(input_layernorm(x))); "
            "x + post_feedforward_layernorm(mlp(pre_feedforward_layernorm(x)))",
        ),
        (
            "Olmo2",
            "output",
            "model.layers.1: output: x + post_attention_layernorm(attention[self_attn.q_norm, self_attn.k_norm](x)); "
            "x + post_feedforward_layernorm(mlp(x))",
        ),
        (
            "Llama",
            "pre",
            "model.layers.1: pre: x + attention(input_layernorm(x)); x + mlp(post_attention_layernorm(x))",
        ),
        ("GPT2", "pre", "transformer.h.1: pre: x + attention(ln_1(x)); x + mlp(ln_2(x))"),
        (
            "Bert",
            "post",
            "bert.encoder.layer.1: post: attention.output.LayerNorm(x + attention(x)); output.LayerNorm(x + mlp(x))",
        ),
        ("Phi", "pre", "model.layers.1: pre: x + attention+mlp(input_layernorm(x))"),
        (
            "OPT",
            "pre",
            "model.decoder.layers.1: pre: x + attention(self_attn_layer_norm(x)); x + mlp(final_layer_norm(x))",
        ),
    ],
)
def test_hugging_face_models(name: str, placement: str, line: str) -> None:
    model, example = hugging_face(name)
    described = describe_norms(model, example)
    assert described.placement == placement
    assert line in str(described).splitlines()
    assert len(described) == 2


def test_the_norms_at_the_ends_of_a_stream() -> None:
    assert describe_norms(*hugging_face("Gemma2")).final == ("model.norm",)
    bert = describe_norms(*hugging_face("Bert"))
    assert bert.embedding == ("bert.embeddings.LayerNorm",)
    bloom = describe_norms(*hugging_face("Bloom"))
    assert bloom.embedding == ("transformer.word_embeddings_layernorm",)
    assert bloom.final == ("transformer.ln_f",)


def test_branches_side_by_side_with_a_norm_each() -> None:
    described = describe_norms(*hugging_face("GPTNeoX"))
    assert described.placement == "pre"
    (layer,) = described.blocks[0].layers
    assert {path.rpartition(".")[2] for path in layer.into} == {"input_layernorm", "post_attention_layernorm"}


@pytest.mark.parametrize(("norm_first", "placement"), [(True, "pre"), (False, "post")])
def test_torchs_own_encoder_and_decoder(norm_first: bool, placement: str) -> None:
    options = {"batch_first": True, "norm_first": norm_first}
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, **options), 2, enable_nested_tensor=False)
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16, **options), 2)
    x, memory = torch.randn(2, 5, 8), torch.randn(2, 3, 8)
    first = lines(encoder.eval(), x)[0]
    if norm_first:
        assert first == "layers.0: pre: x + attention(norm1(x)); x + mlp(norm2(x))"
    else:
        assert first == "layers.0: post: norm1(x + attention(x)); norm2(x + mlp(x))"
    described = describe_norms(decoder, (x, memory))
    assert described.placement == placement
    assert [layer.kind for layer in described.blocks[1].layers] == ["attention", "attention", "mlp"]


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_our_own_layers(placement: str) -> None:
    model = Transformer(20, 8, 2, 2, placement=placement, embed_norm=True, qk_norm=True, max_length=9)
    described = describe_norms(model, torch.randint(20, (2, 6)))
    assert described.placement == placement
    assert described.embedding == ("embed_norm",)
    assert described.final == (("final_norm",) if placement != "post" else ())
    assert described.blocks[0].layers[0].inside == ("layers.0.self_attn.q_norm", "layers.0.self_attn.k_norm")
    layer = TransformerDecoderLayer(8, 2, 16, batch_first=True, placement=placement)
    decoder = nn.TransformerDecoder(layer, 2)
    assert describe_norms(decoder, (torch.randn(2, 5, 8), torch.randn(2, 3, 8))).placement == placement


def test_a_timm_style_block_with_layer_scale_and_drop_path() -> None:
    first = lines(VisionTransformer(), torch.randn(2, 3, 16, 16))[0]
    assert first == "blocks.0: pre: x + attention(norm1(x)); x + mlp(norm2(x))"


class Sandwich(nn.Module):
    """Norm(x + M(Norm(x))): what some call a sandwich; the second norm stands behind the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.linear = nn.LayerNorm(8), nn.LayerNorm(8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(x + self.linear(self.one(x)))


def test_a_norm_behind_the_sum_is_no_output_norm() -> None:
    described = describe_norms(nn.Sequential(Sandwich(), Sandwich()), torch.randn(2, 3, 8))
    assert described.blocks[0].placement == "pre+post"
    assert "peri" not in described.placement


class LeftToRight(nn.Module):
    """(x + a(n(x))) + b(n(x)): two branches of one stream, summed from the left."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.a, self.b = nn.LayerNorm(8), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        read = self.norm(x)
        x = x + self.a(read)
        return x + self.b(read)


def test_two_branches_that_read_one_stream() -> None:
    layers = describe_norms(nn.Sequential(LeftToRight(), nn.Identity()), torch.randn(2, 3, 8)).blocks[0].layers
    assert [layer.placement for layer in layers] == ["pre", "pre"]
    assert [layer.into for layer in layers] == [("0.norm",), ("0.norm",)]


class Gelu(nn.Module):
    """A sum of x and of what was computed from it without a linear map is no sub-layer."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x * (1 + torch.tanh(x + 0.044715 * x**3))


def test_sums_that_are_no_residual_are_not_taken_for_one() -> None:
    with pytest.raises(ValueError, match="has no residual stream: no sum"):
        describe_norms(nn.Sequential(nn.Linear(8, 8), Gelu()), torch.randn(2, 8))


class RMS(nn.Module):
    """w · x · rsqrt(mean(x²) + ε), and no name says that it is a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        return self.w * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


class Gain(nn.Module):
    """A factor for each channel by a mean over the positions: a scale of x, and no norm of it."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x.mean(1, keepdim=True).sigmoid()


WRITTEN = {
    "root mean square": lambda x: x * (x.float() ** 2).mean(-1, keepdim=True).add(1e-6).rsqrt().to(x.dtype),
    "gain first": lambda x: 2 * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6),
    "gain first, centred": lambda x: 2 * (x - x.mean(-1, keepdim=True)) * x.var(-1, keepdim=True).add(1e-6).rsqrt(),
    "power": lambda x: x / (x.square().mean(-1, keepdim=True) + 1e-6) ** 0.5,
    "length": lambda x: x / x.norm(dim=-1, keepdim=True),
    "centred": lambda x: (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, keepdim=True) + 1e-5) * 2 + 1,
    "deviation": lambda x: 3 * ((x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-5)),
}
UNWRITTEN = {
    "gate": lambda x: x * x.mean(-1, keepdim=True).sigmoid(),
    "softmax": lambda x: x.exp() / x.exp().sum(-1, keepdim=True),
    "another's scale": lambda x: x * torch.rsqrt(torch.ones(3, 1) + 1e-6),
    "centring": lambda x: x - x.mean(-1, keepdim=True),
}


class Block(nn.Module):
    """x + end(f(start(x)))."""

    def __init__(self, start: Callable[[Tensor], Tensor], end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.start, self.end, self.f = start, end, nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.end(self.f(self.start(x)))


class Network(nn.Module):
    """Two blocks and what stands behind them."""

    def __init__(self, blocks: list[nn.Module], last: nn.Module) -> None:
        super().__init__()
        self.l, self.last, self.head = nn.Sequential(*blocks), last, nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.last(self.l(x)))


X = torch.randn(2, 3, 8)


def test_a_norm_whose_name_does_not_say_so() -> None:
    described = describe_norms(Network([Block(RMS(), nn.Identity()) for _ in range(2)], RMS()), X)
    assert str(described).splitlines() == [
        "l.0: pre: x + mlp(start(x))",
        "l.1: pre: x + mlp(start(x))",
        "final norm: last",
    ]
    peri = describe_norms(Network([Block(RMS(), RMS()) for _ in range(2)], RMS()), X)
    assert peri.placement == "peri"
    assert peri.final == ("last",)
    scaled = describe_norms(Network([Block(Gain(), Gain()) for _ in range(2)], Gain()), X)
    assert (scaled.placement, scaled.final) == ("none", ())


@pytest.mark.parametrize("name", WRITTEN)
def test_norms_that_are_written_out(name: str) -> None:
    norm = WRITTEN[name]
    described = describe_norms(Network([Block(norm, nn.Identity()), Block(norm, nn.Dropout())], RMS()), X)
    assert str(described.blocks[1]) == "l.1: pre: x + mlp(norm(x))"
    assert described.final == ("last",)
    assert describe_norms(Network([Block(norm, norm), Block(norm, norm)], RMS()), X).placement == "peri"
    post = describe_norms(nn.Sequential(*(After(norm) for _ in range(2))), X)
    assert post.placement == "post"


class After(nn.Module):
    """norm(x + f(x))."""

    def __init__(self, norm: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.norm, self.f = norm, nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x + self.f(x))


@pytest.mark.parametrize("name", UNWRITTEN)
def test_what_is_no_norm_is_not_taken_for_one(name: str) -> None:
    one = UNWRITTEN[name]
    assert describe_norms(Network([Block(one, one), Block(one, one)], RMS()), X).placement == "none"


class Behind(nn.Module):
    """x + what(o(f(n(x))))."""

    def __init__(self, what: Callable[["Behind", Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.what, self.n, self.o = what, nn.LayerNorm(8), nn.LayerNorm(8)
        self.f, self.g, self.a = nn.Linear(8, 8), nn.Linear(8, 8), nn.Parameter(torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.what(self, x, self.o(self.f(self.n(x))))


BEHIND = {
    "gate": (lambda block, x, y: torch.sigmoid(block.g(x)) * y, "unknown", "l.0: unknown: x + …o(mlp(n(x)))"),
    "choice": (lambda block, x, y: torch.where(x > 0, y, 0.0), "unknown", "l.0: unknown: x + …o(mlp(n(x)))"),
    "activation": (lambda block, x, y: y.relu(), "unknown", "l.0: unknown: x + …o(mlp(n(x)))"),
    "shift": (lambda block, x, y: y + block.a, "peri", "l.0: peri: x + o(mlp(n(x)))"),
    "sign": (lambda block, x, y: -y, "peri", "l.0: peri: x + o(mlp(n(x)))"),
    "map": (lambda block, x, y: block.g(y), "pre", "l.0: pre: x + mlp[o](n(x))"),
}


@pytest.mark.parametrize("name", BEHIND)
def test_what_stands_behind_an_output_norm(name: str) -> None:
    what, placement, line = BEHIND[name]
    network = Network([Behind(what), Behind(what)], nn.LayerNorm(8))
    described = describe_norms(network, X)
    assert described.placement == placement
    assert str(described).splitlines()[0] == line
    if placement == "unknown":
        with pytest.raises(ConversionError, match="whether it is Peri-LN already cannot be told"):
            convert(network, "peri-ln", example=X)


def test_a_network_is_left_as_it_was() -> None:
    model = Transformer(20, 8, 2, 2, dropout=0.5)
    model.layers[0].eval()
    modes = [module.training for module in model.modules()]
    state = torch.get_rng_state()
    describe_norms(model, torch.randint(20, (2, 6), generator=torch.Generator().manual_seed(0)))
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert not model.layers[0]._forward_hooks
