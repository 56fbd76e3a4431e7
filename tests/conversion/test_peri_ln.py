"""Pre-LN to Peri-LN in blocks of several libraries: where the norms come to stand, and what is refused."""

import copy

import pytest
import torch
from torch import Tensor, nn

from normkit.conversion import ConversionError, PeriLN, convert, load
from normkit.models import Transformer, TransformerEncoderLayer, describe_norms
from normkit.nn import LayerNorm, RMSNorm
from tests.conversion.instances import encoder, vectors
from tests.models.blocks import VisionTransformer, hugging_face


def outputs(model: nn.Module, example) -> Tensor:
    with torch.no_grad():
        found = model(**example) if isinstance(example, dict) else model(example)
    return found if isinstance(found, Tensor) else next(iter(found.values()))


def test_torchs_encoder_computes_what_our_peri_layers_do() -> None:
    model = encoder(2).double().eval()
    new = convert(model, "peri-ln", example=vectors()[0].double()).model
    x = vectors()[1].double()
    y = x
    for layer in model.layers:
        ours = TransformerEncoderLayer(16, 4, 32, batch_first=True, placement="peri", dtype=torch.float64).eval()
        ours.load_state_dict({**ours.state_dict(), **layer.state_dict()})
        y = ours(y)
    torch.testing.assert_close(outputs(new, x), model.norm(y), rtol=1e-12, atol=1e-12)
    assert [*new.layers[0].state_dict()][-4:] == [
        "norm1_out.weight",
        "norm1_out.bias",
        "norm2_out.weight",
        "norm2_out.bias",
    ]


@pytest.mark.parametrize("mode", [True, False])
def test_the_fused_path_is_closed(mode: bool) -> None:
    """In evaluation and without gradients torch would take a kernel that calls no norm."""
    new = convert(encoder().eval(), PeriLN(), example=vectors()[0]).model
    seen = []
    new.layers[0].norm1_out.register_forward_hook(lambda *given: seen.append(1))
    with torch.set_grad_enabled(mode):
        new(vectors()[0])
    assert seen == [1]


@pytest.mark.parametrize(
    ("name", "norms", "kind"),
    [
        ("GPT2", 4, LayerNorm),
        ("ViT", 4, LayerNorm),
        ("Llama", 4, RMSNorm),
        ("OPT", 4, LayerNorm),
        ("Bloom", 4, LayerNorm),
        ("GPTNeoX", 4, LayerNorm),
        ("Phi", 4, LayerNorm),
        ("DINOv2", 4, LayerNorm),
    ],
)
def test_hugging_face_models_become_peri(name: str, norms: int, kind: type, tmp_path) -> None:
    model, example = hugging_face(name)
    conversion = convert(model, "peri-ln", example=example)
    assert conversion.kind == "fresh"
    assert not conversion.skipped
    assert describe_norms(conversion.model, example).placement == "peri"
    added = {path: module for path, module in conversion.model.named_modules() if path.endswith("_out")}
    assert len(added) == norms == len(conversion.changes)
    assert {type(module) for module in added.values()} == {kind}
    assert describe_norms(model, example).placement == "pre"
    again = load(conversion.save(tmp_path / "kept"))
    assert torch.equal(outputs(again, example), outputs(conversion.model, example))


@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_our_own_layers_take_their_norms_themselves(norm: str) -> None:
    torch.manual_seed(0)
    model = Transformer(20, 16, 2, 2, norm=norm, max_length=8, init_std=0.3).eval()
    tokens = torch.randint(20, (2, 8))
    new = convert(model, "peri-ln", example=tokens).model
    peri = Transformer(20, 16, 2, 2, norm=norm, max_length=8, placement="peri").eval()
    peri.load_state_dict(new.state_dict())
    assert torch.equal(new(tokens), peri(tokens))
    assert describe_norms(new, tokens).placement == "peri"
    assert "placement='peri'" in repr(new)


def test_timm_style_blocks_and_their_layer_scales() -> None:
    """The norm stands before the layer scale: what is added has the deviation γ_scale."""
    images = torch.randn(2, 3, 16, 16)
    new = convert(VisionTransformer(), "peri-ln", example=images).model
    assert describe_norms(new, images).placement == "peri"
    written = []
    new.blocks[0].ls1.register_forward_hook(lambda module, args, output: written.append(output))
    outputs(new, images)
    assert written[0].std(-1, correction=0).mean().item() == pytest.approx(0.3, rel=1e-2)


@pytest.mark.parametrize("factor", [0.01, 1.0, 100.0])
def test_each_branch_adds_variance_one_whatever_its_weights(factor: float) -> None:
    """Var(x_l) = Var(x_0) + l but for the chance correlations of branches: each adds 1."""
    model, example = hugging_face("GPT2", n_layer=4, n_embd=32, n_head=4)
    for block in model.transformer.h:
        block.mlp.c_proj.weight.data *= factor
        block.attn.c_proj.weight.data *= factor
    new = convert(model, PeriLN(), example=example).model.double()
    added: list[float] = []
    for norm in (norm for block in new.transformer.h for norm in (block.norm1_out, block.norm2_out)):
        norm.eps = 1e-20
        norm.register_forward_hook(lambda module, args, out: added.append(out.var(-1, correction=0).mean().item()))
    outputs(new, example)
    assert added == pytest.approx([1.0] * 8, rel=1e-6)


def test_dropout_acts_on_the_norms_output() -> None:
    model = encoder(1)
    model.layers[0].dropout1.p = 1.0
    model.layers[0].dropout2.p = 1.0
    new = convert(model, "peri-ln", example=vectors()[0]).model
    nn.init.ones_(new.layers[0].norm1_out.bias)  # a norm behind the dropout would add its bias
    x = vectors()[0]
    assert torch.equal(new.layers[0].train()(x), x)


@pytest.mark.parametrize(("norm", "kind"), [("rms", RMSNorm), ("layer", LayerNorm)])
def test_the_kind_of_norm_can_be_chosen(norm: str, kind: type) -> None:
    new = convert(encoder(), PeriLN(norm=norm), example=vectors()[0]).model
    assert type(new.layers[0].norm2_out) is kind


def test_the_pattern_is_the_branchs_own_input_norm() -> None:
    model, example = hugging_face("Llama", rms_norm_eps=3e-4)
    new = convert(model, "peri-ln", example=example).model
    assert new.model.layers[0].norm1_out.eps == 3e-4
    bare = convert(encoder(bias=False), "peri-ln", example=vectors()[0]).model
    assert bare.layers[0].norm1_out.bias is None
    half = convert(encoder().bfloat16(), "peri-ln", example=vectors()[0].bfloat16()).model
    assert half.layers[0].norm1_out.weight.dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["GPT2", "Llama", "ViT"])
def test_an_embedding_norm(name: str) -> None:
    model, example = hugging_face(name)
    new = convert(model, PeriLN(embed_norm=True), example=example).model
    described = describe_norms(new, example)
    assert described.placement == "peri"
    (norm,) = described.embedding
    assert norm.endswith(".0.embed_norm")
    assert sum(path.endswith("embed_norm") for path, _ in new.named_modules()) == 1


def test_an_embedding_norm_that_is_there_is_not_doubled() -> None:
    model, example = hugging_face("Bloom")
    new = convert(model, PeriLN(embed_norm=True), example=example).model
    assert describe_norms(new, example).embedding == ("transformer.word_embeddings_layernorm",)
    assert not any(path.endswith("embed_norm") for path, _ in new.named_modules())


def test_a_copy_has_norms_of_its_own() -> None:
    new = convert(encoder(), "peri-ln", example=vectors()[0]).model.eval()
    twin = copy.deepcopy(new)
    before = outputs(new, vectors()[0])
    nn.init.zeros_(twin.layers[0].norm1_out.weight)
    assert torch.equal(outputs(new, vectors()[0]), before)
    assert not torch.equal(outputs(twin, vectors()[0]), before)


def test_the_output_norm_can_be_replaced_like_any_module() -> None:
    new = convert(encoder(), "peri-ln", example=vectors()[0]).model.eval()
    new.layers[0].norm1_out = nn.Identity()
    new.layers[1].norm2_out = nn.Identity()
    described = describe_norms(new, vectors()[0])
    assert [layer.placement for layer in described.blocks[0].layers] == ["pre", "peri"]


def test_matching_keeps_the_scale_of_each_branch() -> None:
    model, _ = hugging_face("Llama")
    for block in model.model.layers:
        block.mlp.down_proj.weight.data *= 7
    data = [{"input_ids": torch.randint(3, 40, (2, 9))} for _ in range(3)]
    wrote = []
    model.model.layers[1].mlp.down_proj.register_forward_hook(lambda module, args, output: wrote.append(output))
    for batch in data:
        outputs(model, batch)
    rms = torch.cat([each.flatten(0, 1) for each in wrote]).square().mean().sqrt().item()
    matched = convert(model, PeriLN(init="match"), data=data)
    assert matched.kind == "calibrated"
    gains = matched.model.model.layers[1].norm2_out.weight
    assert torch.allclose(gains, torch.full_like(gains, rms), rtol=1e-5)
    ones = convert(model, PeriLN(), data=data)
    assert matched.max_rel_diff < ones.max_rel_diff
    assert any("compare the loss before and after" in remark for remark in matched.remarks)
    with pytest.raises(ConversionError, match="peri-ln is calibrated: pass data="):
        convert(model, PeriLN(init="match"))


def test_matching_attention_whose_output_is_a_tuple_and_layer_norms() -> None:
    model = encoder().eval()
    new = convert(model, PeriLN(init="match"), data=vectors()).model
    wrote = []
    model.layers[0].self_attn.register_forward_hook(lambda module, args, output: wrote.append(output[0]))
    for x in vectors():
        model(x)
    deviation = torch.cat(wrote).var(-1, correction=0).mean().sqrt()
    assert torch.allclose(new.layers[0].norm1_out.weight, deviation.expand(16), rtol=1e-5)


class TwoInOne(nn.Module):
    """A block that adds twice what one module writes."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(16), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.linear(self.norm(x))
        return x + self.linear(self.norm(x))


class Raw(nn.Module):
    """A block whose branch ends in a function of parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.weight = nn.LayerNorm(16), nn.Parameter(torch.randn(16, 16))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm(x) @ self.weight


class Straight(nn.Module):
    """A norm and a linear map without any sum."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(16), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.norm(x))


class Bare(nn.Module):
    """A residual block whose norm stands inside the branch."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm, self.two = nn.Linear(16, 16), nn.LayerNorm(16), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.two(self.norm(self.one(x)))


class Convolutional(nn.Module):
    """A pre-activation block: its norm is not over the last axis."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.conv = nn.GroupNorm(1, 3), nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(self.norm(x).relu())


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: (encoder(norm_first=False), vectors()[0]), "it is Post-LN: its norm stands on the stream"),
        (lambda: hugging_face("Bert"), "it is Post-LN"),
        (lambda: hugging_face("Gemma2"), "it is Peri-LN already"),
        (lambda: hugging_face("Olmo2"), "its norms stand at the outputs alone"),
        (lambda: (Transformer(20, 16, 2, 2, placement="peri"), torch.randint(20, (2, 5))), "it is Peri-LN already"),
        (lambda: (nn.Sequential(TwoInOne()), vectors()[0]), "writes to the stream in several places"),
        (lambda: (nn.Sequential(Raw()), vectors()[0]), "comes from the function __matmul__|matmul, not from a module"),
        (
            lambda: (nn.Sequential(Straight()), vectors()[0]),
            r"a sum x \+ M\(norm\(x\)\) of the stream .* was looked for",
        ),
        (lambda: (nn.Sequential(Bare()), vectors()[0]), "no norm reads its stream"),
        (lambda: (nn.Sequential(Convolutional()), torch.randn(2, 3, 4, 4)), "only norms over the last axis are known"),
    ],
)
def test_what_is_not_possible_is_refused_with_its_reason(build, reason: str) -> None:
    model, example = build()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ConversionError, match=reason):
        convert(model, "peri-ln", example=example)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_lone_layer_is_a_block_too() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, norm_first=True, batch_first=True)
    new = convert(layer, "peri-ln", example=vectors()[0]).model
    assert isinstance(new.norm2_out, LayerNorm)


def test_the_flow_must_be_seen() -> None:
    with pytest.raises(ConversionError, match="pass example="):
        convert(VisionTransformer(), "peri-ln")


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"norm": "batch"}, ValueError, "norm is 'layer', 'rms' or None"),
        ({"init": "zeros"}, ValueError, "init is 'ones' or 'match', got 'zeros'"),
        ({"embed_norm": "yes"}, TypeError, "embed_norm"),
    ],
)
def test_wrong_options_are_named(options: dict, error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        PeriLN(**options)


class Sandwich(nn.Module):
    """x ← o(x + f(n(x))): a norm before the branch, and one that the stream itself goes through."""

    def __init__(self) -> None:
        super().__init__()
        self.n, self.o, self.f = nn.LayerNorm(8), nn.LayerNorm(8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.o(x + self.f(self.n(x)))


def test_a_stream_that_is_normed_itself_is_refused_to_its_last_block() -> None:
    x = torch.randn(2, 5, 8)
    model = nn.Sequential(Sandwich(), Sandwich(), Sandwich())
    blocks = describe_norms(model, x).blocks
    assert len({block.placement for block in blocks}) == 1
    with pytest.raises(ConversionError, match="Post-LN"):
        convert(model, "peri-ln", example=x)
