"""LayerNorm to RMSNorm in Pre-LN transformers, exactly; also what is not possible, with its reason."""

import copy

import pytest
import torch
from torch import nn

from normkit.conversion import ConversionError, PreRMSNorm, convert, load
from normkit.conversion._streams.compress import ExpandedCRMSNorm
from normkit.models import Transformer
from normkit.nn import RMSNorm
from tests.conversion.instances import encoder, excite, vectors

each_slug = pytest.mark.parametrize("slug", ["pre-rmsnorm", "pre-crmsnorm"])
each_rule = pytest.mark.parametrize("rule", ["pre-rmsnorm", PreRMSNorm(tied="recentre"), "pre-crmsnorm"], ids=str)


def gpt2(head: bool = True, **options) -> nn.Module:
    """GPT-2 from its library's own configuration, every parameter random."""
    transformers = pytest.importorskip("transformers")
    settings = {"vocab_size": 60, "n_positions": 24, "n_embd": 24, "n_layer": 2, "n_head": 4}
    config = transformers.GPT2Config(**settings, bos_token_id=0, eos_token_id=1, pad_token_id=2, **options)
    torch.manual_seed(5)
    model = (transformers.GPT2LMHeadModel if head else transformers.GPT2Model)(config).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.15)
    return excite(model)


def tokens(length: int = 9) -> torch.Tensor:
    return torch.randint(3, 60, (2, length), generator=torch.Generator().manual_seed(1))


@each_slug
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_torch_encoders_are_exact(slug: str, bias: bool, batch_first: bool):
    conversion = convert(encoder(3, bias=bias, batch_first=batch_first), slug, example=vectors()[0])
    assert conversion.max_rel_diff < 1e-12
    assert len(conversion.trials) == 6
    assert not [module for module in conversion.model.modules() if isinstance(module, nn.LayerNorm)]


@each_slug
def test_in_training_without_dropout_it_is_exact_too(slug: str):
    model = encoder().double()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
    new, x = convert(model, slug, example=vectors()[0].double()).model, vectors()[0].double()
    torch.testing.assert_close(new.train()(x), model.train()(x), rtol=1e-12, atol=1e-12)


def test_dropout_leaves_no_mean_in_the_stream():
    new = convert(encoder(), "pre-rmsnorm", example=vectors()[0]).model.train()
    means = []
    new.layers[1].register_forward_hook(lambda module, args, output: means.append(output.mean(-1).abs().max()))
    new(vectors()[0])
    assert means[0] < 1e-6


def test_the_entry_that_comes_back_is_rounded_once():
    """As LayerNorm's is, and not the sum of the roundings of all others."""
    torch.manual_seed(0)
    norm = ExpandedCRMSNorm(768)
    nn.init.uniform_(norm.weight)
    nn.init.normal_(norm.bias)
    norm.bfloat16()
    z = torch.randn(64, 767).bfloat16()
    exact, given = copy.deepcopy(norm).double()(z.double()), norm(z)
    assert given.dtype == torch.bfloat16
    half_a_unit = exact.abs().clamp_min(1e-3) * 2**-8
    assert ((given.double() - exact).abs() <= 1.01 * half_a_unit).all()


@each_slug
def test_the_norms_are_called_in_evaluation(slug: str):
    new = convert(encoder(), slug, example=vectors()[0]).model.eval()
    seen = []
    for layer in new.layers:
        forward = layer.norm1.forward
        layer.norm1.forward = lambda x, forward=forward: seen.append(1) or forward(x)
    with torch.no_grad():
        new(vectors()[0])
    assert len(seen) == 2


def test_state_dict_names_are_those_of_the_layer_norms():
    model = encoder()
    new = convert(model, "pre-rmsnorm", example=vectors()[0]).model
    assert [*new.state_dict()] == [*model.state_dict()]
    again = encoder()
    again.load_state_dict(new.state_dict())  # LayerNorms over a stream without mean compute the same
    x = vectors()[0] - vectors()[0].mean(-1, keepdim=True)
    torch.testing.assert_close(again.eval()(x), model.eval()(x), rtol=1e-4, atol=1e-5)


def test_trainable_keeps_the_trajectory_of_the_pre_ln_model_and_once_does_not():
    def losses(model: nn.Module) -> list[float]:
        model = model.double().train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        generator = torch.Generator().manual_seed(2)
        kept = []
        for _ in range(40):
            x = torch.randn(4, 5, 16, generator=generator, dtype=torch.float64)
            loss = (model(x) - x.roll(1, -1)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            kept.append(loss.item())
        return kept

    torch.manual_seed(13)
    layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, norm_first=True, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(16), enable_nested_tensor=False).double()
    example = vectors()[0].double()
    wanted = torch.tensor(losses(copy.deepcopy(model)))
    free = torch.tensor(losses(convert(model, PreRMSNorm(trainable=True), example=example).model))
    once = torch.tensor(losses(convert(model, PreRMSNorm(), example=example).model))
    assert (free - wanted).abs().max() < 1e-10
    assert (once - wanted).abs().max() > 1e-4


@each_rule
def test_gpt2_is_exact_and_generates_the_same_tokens(rule):
    model = gpt2()
    conversion = convert(model, rule)
    assert conversion.max_rel_diff < 1e-12
    assert len(conversion.trials) >= 4
    ids = tokens()
    options = {"max_new_tokens": 12, "do_sample": False, "attention_mask": torch.ones_like(ids)}
    assert torch.equal(conversion.model.generate(ids, **options), model.generate(ids, **options))
    assert any("hidden states" in change["from"] for change in conversion.changes)


@each_rule
def test_gpt2_takes_embedded_inputs_as_before(rule):
    model = gpt2().double()
    new = convert(model, rule).model
    embedded = torch.randn(2, 5, 24, dtype=torch.float64) + 1
    with torch.no_grad():
        torch.testing.assert_close(new(inputs_embeds=embedded).logits, model(inputs_embeds=embedded).logits)


@each_rule
def test_gpt2_with_cross_attention(rule):
    model = gpt2(add_cross_attention=True)
    example = {"input_ids": tokens(), "encoder_hidden_states": torch.randn(2, 4, 24)}
    conversion = convert(model, rule, example=example)
    assert conversion.max_rel_diff < 1e-12


def test_untying_gives_the_head_the_original_table_and_says_so():
    model = gpt2()
    table = model.lm_head.weight.detach().clone()
    conversion = convert(model, "pre-rmsnorm")
    new = conversion.model
    assert torch.equal(new.lm_head.weight, table)
    assert new.transformer.wte.weight.mean(-1).abs().max() < 1e-7
    assert not new.config.tie_word_embeddings
    assert model.config.tie_word_embeddings
    assert model.lm_head.weight is model.transformer.wte.weight
    assert any(change["to"] == "untied" and change["path"] == "lm_head.weight" for change in conversion.changes)


def test_recentring_at_run_time_keeps_the_tie():
    new = convert(gpt2(), PreRMSNorm(tied="recentre")).model
    assert new.lm_head.weight is new.transformer.wte.weight
    assert new.config.tie_word_embeddings


def test_the_original_librarys_class_loads_the_weights(tmp_path):
    model = gpt2()
    convert(model, "pre-rmsnorm").model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path).eval()
    with torch.no_grad():
        torch.testing.assert_close(again(tokens()).logits, model(tokens()).logits, rtol=1e-4, atol=1e-4)


@each_rule
def test_gpt2_is_rebuilt_from_its_folder_alone(rule, tmp_path):
    conversion = convert(gpt2(), rule)
    new = load(conversion.save(tmp_path / "kept"))
    with torch.no_grad():
        assert torch.equal(new(tokens()).logits, conversion.model(tokens()).logits)


@each_slug
def test_gpt2_without_head_exports(slug: str):
    new = convert(gpt2(head=False), slug).model
    program = torch.export.export(new, (), {"input_ids": tokens(), "use_cache": False})
    with torch.no_grad():
        wanted = new(tokens()).last_hidden_state
        torch.testing.assert_close(program.module()(input_ids=tokens(), use_cache=False).last_hidden_state, wanted)


@each_slug
@pytest.mark.parametrize("embed_norm", [True, False])
@pytest.mark.parametrize("positions", ["learned", "none"])
def test_our_own_transformer(slug: str, embed_norm: bool, positions: str):
    torch.manual_seed(3)
    model = excite(Transformer(30, 16, 4, 2, max_length=20, embed_norm=embed_norm, positions=positions))
    conversion = convert(model, slug)
    assert conversion.max_rel_diff < 1e-12
    if slug == "pre-rmsnorm" and not embed_norm:
        assert isinstance(conversion.model.final_norm, RMSNorm)


def test_a_decoder_and_a_whole_transformer():
    torch.manual_seed(4)
    with pytest.warns(UserWarning, match="enable_nested_tensor"):
        model = excite(nn.Transformer(16, 4, 1, 2, 32, norm_first=True, batch_first=True))
    example = (vectors()[0], vectors()[1][:, :5])
    both = convert(model, "pre-rmsnorm", example=example)
    assert both.max_rel_diff < 1e-12
    assert not both.skipped
    half = convert(model, "pre-crmsnorm", example=example)
    assert [entry["path"] for entry in half.skipped] == ["decoder"]
    assert half.max_rel_diff < 1e-12


def bert() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    settings = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    return transformers.BertModel(transformers.BertConfig(vocab_size=20, **settings))


def shared_layers() -> nn.Module:
    model = encoder()
    model.layers[1] = model.layers[0]
    return model


def parametrised() -> nn.Module:
    model = encoder()
    nn.utils.parametrizations.weight_norm(model.layers[0].linear2)
    return model


class Adapted(nn.Linear):
    """A linear layer with something more to it, as adapters are."""


def unknown_writer() -> nn.Module:
    model = encoder()
    model.layers[0].linear2 = Adapted(32, 16)
    return model


class Subclassed(nn.TransformerEncoder):
    def forward(self, src):
        return super().forward(src) + src


def subclassed() -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 4, 32, norm_first=True, batch_first=True)
    return Subclassed(layer, 1, norm=nn.LayerNorm(16), enable_nested_tensor=False)


def tied_readers() -> nn.Module:
    model = encoder()
    model.layers[1].linear1.weight = model.layers[0].linear1.weight
    return model


@each_slug
@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: encoder(norm_first=False), "it is Post-LN"),
        (bert, "it is Post-LN"),
        (lambda: encoder(norm=False), "it has no final norm"),
        (lambda: nn.TransformerEncoderLayer(16, 4, 32, norm_first=True, batch_first=True), "returns the stream itself"),
        (lambda: gpt2(output_hidden_states=True), "config.output_hidden_states is set"),
        (lambda: Transformer(30, 16, 4, 1, placement="peri"), "the norms are placed peri"),
        (shared_layers, "layers of the stack share modules"),
        (parametrised, r"layers.0.linear2 has a parametrised weight: bake it first"),
        (unknown_writer, "layers.0.linear2 is a Adapted, which is not known"),
        (subclassed, "a Subclassed with a forward of its own"),
        (tied_readers, r"layers.0.linear1.weight and layers.1.linear1.weight are tied"),
    ],
)
def test_what_is_not_possible_is_refused_with_its_reason(slug: str, build, reason: str):
    model = build()
    with pytest.raises(ConversionError, match=reason):
        convert(
            model, slug, example=None if hasattr(model, "config") or isinstance(model, Transformer) else vectors()[0]
        )


def test_a_wrong_option_is_named():
    with pytest.raises(ValueError, match='tied is "untie" or "recentre", got \'both\''):
        PreRMSNorm(tied="both")
