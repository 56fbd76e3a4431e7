"""LayerNorm to PowerNorm on the networks that people have, and what is refused."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from normkit.conversion import ConversionError, ToPowerNorm, convert
from normkit.models import SequenceBatchNorm, Transformer, character_model
from normkit.nn import PowerNorm
from tests.conversion.instances import encoder, excite, vectors


def tokens(count: int = 3, vocabulary: int = 60) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(vocabulary, (4, 12), generator=generator) for _ in range(count)]


def power_norms(model: nn.Module) -> list[str]:
    return [path for path, module in model.named_modules() if isinstance(module, PowerNorm)]


def hugging_face(name: str) -> tuple[nn.Module, int]:
    """The network and how many LayerNorms it has."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    if name == "gpt2":
        config: Any = transformers.GPT2Config(vocab_size=60, n_embd=32, n_layer=2, n_head=4, n_positions=32)
        return excite(transformers.GPT2Model(config)).eval(), 5
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = transformers.BertConfig(vocab_size=60, max_position_embeddings=32, **sizes)
    return excite(transformers.BertModel(config, add_pooling_layer=False)).eval(), 5


@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_pre_and_post_norm_networks_of_hugging_face(name: str) -> None:
    model, norms = hugging_face(name)
    data = [{"input_ids": batch} for batch in tokens()]
    conversion = convert(model, "powernorm", data=data)
    assert len(power_norms(conversion.model)) == norms
    assert not conversion.skipped
    assert conversion.kind == "calibrated"
    rough = convert(model, ToPowerNorm(fit=False), data=data)
    assert 0 < conversion.max_rel_diff < rough.max_rel_diff


def test_a_fitted_layer_goes_on_from_its_statistics() -> None:
    data = vectors()
    net = convert(encoder(), "powernorm", data=data).model
    norm = net.layers[0].norm1
    assert int(norm.iters) == norm.warmup_iters
    net.train()
    net(data[0])
    assert float(norm.running_phi.mean()) == pytest.approx(1, rel=1e-2)  # what layer scale makes of any input
    assert int(norm.iters) == norm.warmup_iters + 1
    fresh = convert(encoder(), ToPowerNorm(fit=False), data=data).model
    assert int(fresh.layers[0].norm1.iters) == 0


def test_without_layer_scale_what_is_fitted_can_be_folded() -> None:
    net, rule = encoder().eval(), ToPowerNorm(group_num=0)
    fitted = convert(net, rule, data=vectors()).model
    folded = convert(net, [rule, "fold"], data=vectors())
    assert power_norms(folded.model) == ["norm"]  # nothing reads the last one
    torch.testing.assert_close(folded.model(vectors()[0]), fitted(vectors()[0]), rtol=1e-4, atol=1e-5)


def test_a_norm_without_parameters_takes_the_networks_dtype() -> None:
    net = nn.Sequential(nn.LayerNorm(16, elementwise_affine=False), nn.Linear(16, 4)).double()
    assert convert(net, ToPowerNorm(fit=False), example=vectors()[0].double()).model[0].weight.dtype == torch.float64


def test_the_decoder_keeps_its_norms_by_select() -> None:
    net = nn.Transformer(16, 4, 1, 1, 32, batch_first=True)
    pair = (torch.randn(2, 5, 16), torch.randn(2, 4, 16))
    converted = convert(net, ToPowerNorm(fit=False), example=pair, select="encoder.*").model
    assert power_norms(converted) == ["encoder.layers.0.norm1", "encoder.layers.0.norm2", "encoder.norm"]


def test_a_padded_batch_is_not_taken_past_the_new_norms() -> None:
    """torch's encoder would hand nested tensors to a fused layer that reads the norm's parameters alone."""
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    net = nn.TransformerEncoder(layer, 2).eval()
    padding = torch.zeros(3, 7, dtype=torch.bool)
    padding[1:, 5:] = True
    converted = convert(net, "powernorm", data=vectors()).model
    for part in converted.modules():
        if isinstance(part, PowerNorm):
            part.running_phi.fill_(4.0)
    with torch.no_grad():
        y = converted(vectors()[0], src_key_padding_mask=padding)
    by_hand = copy.deepcopy(converted).requires_grad_(True)(vectors()[0], src_key_padding_mask=padding)  # no fast path
    torch.testing.assert_close(y[~padding], by_hand[~padding])


def test_batch_norms_of_a_transformer_become_power_norms() -> None:
    net = character_model(60, 2, norm=SequenceBatchNorm, placement="post")
    for batch in tokens(10):
        net(batch)
    conversion = convert(net, "powernorm", data=tokens())
    assert power_norms(conversion.model) == [f"layers.{i}.norm{j}.norm" for i in range(2) for j in (1, 2)]
    norm = conversion.model.layers[0].norm1.norm
    assert norm.channel_dim == 1
    assert conversion.model(tokens()[0]).shape == (4, 12, 60)


def test_a_time_series_transformer_of_hugging_face() -> None:
    """PatchTST, whose norms are BatchNorm1d between transpositions."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"d_model": 16, "num_attention_heads": 4, "ffn_dim": 32, "num_hidden_layers": 2}
    windows = {"num_input_channels": 2, "context_length": 32, "patch_length": 8, "patch_stride": 8}
    net = transformers.PatchTSTModel(transformers.PatchTSTConfig(**sizes, **windows))
    data = [{"past_values": torch.randn(6, 32, 2).cumsum(1)} for _ in range(3)]
    for batch in data:
        net(**batch)
    conversion = convert(net, "powernorm", data=data)
    names = [f"encoder.layers.{i}.norm_sublayer{j}.batchnorm" for i in range(2) for j in (1, 3)]
    assert power_norms(conversion.model) == names
    assert not conversion.skipped


def test_our_own_transformer() -> None:
    net = Transformer(60, 16, 4, 2, max_length=12, placement="peri")
    assert len(power_norms(convert(net, "powernorm", data=tokens()).model)) == 9


def test_options_reach_the_layer() -> None:
    rule = ToPowerNorm(fit=False, group_num=4, warmup_iters=7, alpha_fwd=0.5, alpha_bwd=0.8, variant="pn-v")
    norm = convert(encoder(), rule, example=vectors()[0]).model.norm
    assert (norm.group_num, norm.warmup_iters, norm.alpha_fwd, norm.alpha_bwd) == (4, 7, 0.5, 0.8)
    assert norm.variant == "pn-v"


class Doubled(nn.LayerNorm):
    """A norm that is not what its class says."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(input)


REFUSED = [
    (nn.LayerNorm((7, 16)), {}, "it normalizes 2 axes, PowerNorm the channels of one"),
    (nn.LayerNorm(16), {"group_num": 3}, "16 channels cannot be cut into 3 groups; what fits is 1, 2, 4, 8, 16"),
    (nn.BatchNorm1d(7), {}, "without attention: PowerNorm is made for transformers"),
    (Doubled(16), {}, "a Doubled with a forward of its own"),
]


@pytest.mark.parametrize(("norm", "options", "reason"), REFUSED, ids=["axes", "groups", "no-attention", "own-forward"])
def test_what_cannot_be_converted_says_why(norm: nn.Module, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConversionError, match=reason):
        convert(nn.Sequential(norm, nn.Linear(16, 4)), ToPowerNorm(**options), data=vectors())


def test_options_are_checked_where_they_are_given() -> None:
    with pytest.raises(ValueError, match="group_num must be at least 0, got -1"):
        ToPowerNorm(group_num=-1)
    with pytest.raises(ValueError, match=r"alpha_bwd must lie in \[0, 1\)"):
        ToPowerNorm(alpha_bwd=1.5)
