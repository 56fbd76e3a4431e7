"""LayerNorm to UnifiedNorm: what the fit finds, and what is refused."""

import pytest
import torch
from torch import nn

from normkit import surgery
from normkit.conversion import ConversionError, ToUnifiedNorm, convert
from normkit.nn import LayerNorm, UnifiedNorm
from tests.conversion.instances import encoder, vectors


def norms(model: nn.Module) -> list[UnifiedNorm]:
    return [module for _, module in surgery.find(model, UnifiedNorm)]


def test_the_statistics_are_those_of_the_data() -> None:
    net = nn.Sequential(LayerNorm(16), nn.Linear(16, 4))
    (norm,) = norms(convert(net, "unified-norm", data=vectors()).model)
    torch.testing.assert_close(norm.running_var, torch.cat(vectors()).square().mean((0, 1)))
    assert int(norm.iters) == 0
    assert norm.outlier_filtration


def test_later_norms_are_fitted_to_what_the_earlier_ones_give() -> None:
    """The error of the whole is that of the last layer on its own inputs, not a sum of misfits."""
    conversion = convert(encoder(), "unified-norm", data=vectors())
    assert len(norms(conversion.model)) == 5
    last = conversion.model.norm
    inputs = []
    last.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    with torch.no_grad():
        for batch in vectors():
            conversion.model.eval()(batch)
    torch.testing.assert_close(last.running_var, torch.cat(inputs).square().mean((0, 1)), rtol=1e-4, atol=1e-6)


def test_options_and_the_old_eps_reach_the_layer() -> None:
    rule = ToUnifiedNorm(window_size=3, warmup_iters=7, outlier_filtration=False, momentum=0.5)
    conversion = convert(nn.Sequential(nn.LayerNorm(16, eps=1e-3, bias=False)), rule, data=vectors())
    (norm,) = norms(conversion.model)
    assert (norm.window_size, norm.warmup_iters, norm.outlier_filtration) == ((3, 3), 7, False)
    assert (norm.momentum, norm.eps) == (0.5, 1e-3)
    assert "not smoothed in its first 7 steps" in conversion.remarks[0]


def test_torchs_encoder_calls_the_new_norms() -> None:
    """Its fused path reads a norm's weight, bias and eps, and would take a UnifiedNorm for a LayerNorm."""
    model = convert(encoder(), "unified-norm", data=vectors()).model.eval()
    called = []
    for norm in norms(model):
        norm.register_forward_hook(lambda module, args, output: called.append(module))
    with torch.no_grad():
        model(vectors()[0])
    assert set(called) == set(norms(model))


def test_bert_and_vit_are_converted() -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32}
    bert = transformers.BertModel(transformers.BertConfig(vocab_size=30, **sizes)).eval()
    vit = transformers.ViTModel(transformers.ViTConfig(image_size=8, patch_size=4, **sizes)).eval()
    for model, data, count in (
        (bert, [{"input_ids": torch.randint(30, (2, 9))} for _ in range(2)], 5),
        (vit, [{"pixel_values": torch.randn(2, 3, 8, 8)} for _ in range(2)], 5),
    ):
        conversion = convert(model, "unified-norm", data=data)
        assert len(norms(conversion.model)) == count
        assert conversion.max_rel_diff is not None
        assert conversion.max_rel_diff < 1


class Scaled(nn.LayerNorm):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(input)


@pytest.mark.parametrize(
    ("norm", "reason"),
    [(nn.LayerNorm((7, 16)), r"over \(7, 16\): only the last axis alone"), (Scaled(16), "forward of its own")],
)
def test_what_is_no_layer_norm_over_the_last_axis_is_refused(norm: nn.Module, reason: str) -> None:
    with pytest.raises(ConversionError, match=reason):
        convert(nn.Sequential(norm), "unified-norm", data=vectors())


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="momentum must lie between 0 and 1"):
        ToUnifiedNorm(momentum=1.0)
    with pytest.raises(ValueError, match="window_size must be at least 1"):
        ToUnifiedNorm(window_size=0)


def test_a_padded_batch_in_evaluation_still_runs() -> None:
    """torch hands such a batch on as a nested tensor, which only its own LayerNorm can take."""
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)
    net = nn.TransformerEncoder(layer, 2).eval()
    x, padding = torch.randn(4, 6, 16), torch.arange(6).expand(4, 6) >= 4
    with torch.no_grad():
        assert convert(net, "unified-norm", data=[x]).model.eval()(x, src_key_padding_mask=padding).shape[0] == 4
