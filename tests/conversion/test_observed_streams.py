"""Pre-RMSNorm and Pre-CRMSNorm for stacks that are known by their data flow alone."""

import pytest
import torch
from torch import Tensor, nn

from normkit.conversion import ConversionError, PreRMSNorm, convert, load
from tests.conversion.instances import excite, vectors
from tests.models.blocks import VisionTransformer, hugging_face

FAMILIES = ("GPTNeoX", "OPT", "ViT", "DINOv2", "Phi", "StableLM", "Bloom")
each_slug = pytest.mark.parametrize("slug", ["pre-rmsnorm", "pre-crmsnorm"])


def family(name: str, **options) -> tuple[nn.Module, dict[str, Tensor]]:
    """A model of that family, every parameter random, norms with gains and shifts that are not trivial."""
    torch.manual_seed(5)
    model, example = hugging_face(name, **options)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return excite(model), example


def layer_norms(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, nn.LayerNorm)]


@each_slug
@pytest.mark.parametrize("name", FAMILIES)
def test_hugging_face_families_are_exact(name: str, slug: str) -> None:
    model, example = family(name)
    conversion = convert(model, slug, example=example)
    assert conversion.max_rel_diff < 1e-12
    assert not conversion.skipped
    left = layer_norms(conversion.model)
    assert len(left) == (name == "Bloom")  # the embedding's own norm, which no stream comes before
    assert len(layer_norms(model)) >= 3


def test_sequential_neox_blocks_are_exact_too() -> None:
    model, example = family("GPTNeoX", use_parallel_residual=False)
    assert convert(model, "pre-rmsnorm", example=example).max_rel_diff < 1e-12


@each_slug
def test_greedy_tokens_are_the_same(slug: str) -> None:
    model, example = family("GPTNeoX")
    new = convert(model, slug, example=example).model
    options = {"max_new_tokens": 8, "do_sample": False, "attention_mask": torch.ones_like(example["input_ids"])}
    assert torch.equal(new.generate(**example, **options), model.generate(**example, **options))


def test_layer_scales_are_folded_into_the_writers() -> None:
    model, example = family("DINOv2")
    conversion = convert(model, "pre-rmsnorm", example=example)
    new = conversion.model
    assert torch.equal(new.encoder.layer[0].layer_scale1.lambda1, torch.ones(16))
    assert new.encoder.layer[0].mlp.fc2.weight.mean(0).abs().max() < 1e-6
    assert any(change["from"] == "layer scale" for change in conversion.changes)
    assert not torch.equal(model.encoder.layer[0].layer_scale1.lambda1, torch.ones(16))


def test_timm_style_blocks() -> None:
    torch.manual_seed(0)
    model, images = excite(VisionTransformer()), torch.randn(2, 3, 16, 16)
    assert convert(model, "pre-rmsnorm", example=images).max_rel_diff < 1e-12
    with pytest.raises(ConversionError):  # its attention says the stream's width in a reshape
        convert(model, "pre-crmsnorm", example=images)


def test_tables_are_recentred_where_the_stream_is_their_sum() -> None:
    model, example = family("GPTNeoX")
    untied = convert(model, "pre-rmsnorm", example=example).model
    assert untied.gpt_neox.embed_in.weight.mean(-1).abs().max() < 1e-6
    kept = convert(model, PreRMSNorm(tied="recentre"), example=example).model
    assert torch.equal(kept.gpt_neox.embed_in.weight, model.gpt_neox.embed_in.weight)
    embedded = {"inputs_embeds": torch.randn(2, 5, 16) + 1}
    with torch.no_grad():
        torch.testing.assert_close(untied(**embedded).logits, model(**embedded).logits, rtol=1e-4, atol=1e-4)


def test_a_conversion_can_be_kept(tmp_path) -> None:
    model, example = family("DINOv2")
    conversion = convert(model, "pre-crmsnorm", example=example)
    again = load(conversion.save(tmp_path / "kept"))
    with torch.no_grad():
        got, wanted = again(**example).last_hidden_state, conversion.model(**example).last_hidden_state
    assert torch.equal(got, wanted)


class Peeking(nn.Module):
    """Pre-LN blocks and a final norm; what is returned holds the stream itself too."""

    def __init__(self) -> None:
        super().__init__()
        layer = VisionTransformer().blocks[0]
        self.blocks, self.norm = nn.ModuleList([layer]), nn.LayerNorm(16)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        for block in self.blocks:
            x = block(x)
        return self.norm(x), x


class Moved(nn.Module):
    """A block whose branch mixes positions: its writer's last axis is not the stream's."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(16), nn.Linear(7, 7)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.linear(self.norm(x).transpose(1, 2)).transpose(1, 2)


class Stacked(nn.Module):
    """A list of blocks and a norm behind it."""

    def __init__(self, block: nn.Module, norm: bool = True) -> None:
        super().__init__()
        self.blocks, self.norm = nn.ModuleList([block]), nn.LayerNorm(16) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


def post_ln_opt() -> tuple[nn.Module, dict[str, Tensor]]:
    return family("OPT", do_layer_norm_before=False)


@each_slug
@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (post_ln_opt, "it is Post-LN"),
        (lambda: family("Bert"), "it is Post-LN"),
        (lambda: (Peeking(), vectors()[0]), "what the model returns reads the stream itself, with its mean"),
        (lambda: (Stacked(Moved()), vectors()[0]), r"moved about \(transpose\) before it is added"),
        (
            lambda: (Stacked(VisionTransformer().blocks[0], norm=False), vectors()[0]),
            "reads the stream itself|no final",
        ),
        (lambda: (Stacked(VisionTransformer().blocks[0]), None), "pass example="),
    ],
)
def test_what_is_not_possible_is_refused_with_its_reason(slug: str, build, reason: str) -> None:
    model, example = build()
    with pytest.raises(ConversionError, match=reason):
        convert(model, slug, example=example)
