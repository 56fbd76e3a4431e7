import math

import pytest
import torch
from torch import nn

from normkit.conversion import PeriLN, convert
from normkit.diagnosis import diagnose, treat
from normkit.models import Transformer


def _tokens() -> list[tuple[torch.Tensor, torch.Tensor]]:
    ids = torch.randint(20, (2, 4, 17), generator=torch.Generator().manual_seed(0))
    return [(each[:, :-1], each[:, 1:]) for each in ids]


class Blocks(nn.Module):
    """A residual stream whose blocks write what they are told: x + scale·norm(x)."""

    class Block(nn.Module):
        def __init__(self, width: int, scale: float) -> None:
            super().__init__()
            self.norm, self.linear, self.scale = nn.LayerNorm(width), nn.Linear(width, width, bias=False), scale
            nn.init.orthogonal_(self.linear.weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.scale * self.linear(self.norm(x))

    def __init__(self, scales: list[float], width: int = 64) -> None:
        super().__init__()
        self.layers = nn.ModuleList(self.Block(width, scale) for scale in scales)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def test_the_figures_are_those_of_the_stream() -> None:
    torch.manual_seed(0)
    model, x = Blocks([0.5, 2.0]).requires_grad_(False), torch.randn(4, 16, 64)
    finding = diagnose(model, [x], probes="variance-growth")["variance-growth"]
    stream = x
    for number, (layer, site) in enumerate(zip(model.layers, finding.sites, strict=True), 1):
        stream = layer(stream)
        variance = float(stream.var(-1, correction=0).mean())
        law = float(x.var(-1, correction=0).mean()) + number
        assert site.detail["variance"] == pytest.approx(variance, rel=1e-5)
        assert site.detail["law"] == pytest.approx(law, rel=1e-5)
        assert site.figure == pytest.approx(variance / law, rel=1e-5)
        assert site.detail["fp16_headroom"] == pytest.approx(65504 / float(stream.abs().max()), rel=1e-5)


@pytest.mark.parametrize(("scale", "severity"), [(1.0, "ok"), (3.0, "ok"), (4.0, "act")])
def test_act_begins_at_ten_times_the_law(scale: float, severity: str) -> None:
    """Branches of variance scale² on a stream of variance 1: the figure is about (1 + L·scale²)/(1 + L)."""
    torch.manual_seed(0)
    assert diagnose(Blocks([scale] * 8), [torch.randn(4, 16, 64)])["variance-growth"].severity == severity


def test_massive_activations_act_whatever_the_variance() -> None:
    model = Blocks([0.1, 0.1])
    x = torch.randn(4, 16, 64) * 0.1
    x[..., 3] = 300.0
    finding = diagnose(model, [x], probes="variance-growth")["variance-growth"]
    assert finding.severity == "act"
    assert finding.figure < finding.threshold
    assert finding.sites[0].detail["massive"] == 64


def test_little_room_in_fp16_is_watched() -> None:
    x = torch.randn(4, 16, 64) * 5000
    assert diagnose(Blocks([0.1, 0.1]), [x])["variance-growth"].severity == "watch"


def test_exponential_growth_is_told_from_linear() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 16, 64)
    linear = diagnose(Blocks([1.0] * 8), [x])["variance-growth"].detail["depth"][0]
    exponential = diagnose(Blocks([2.0**power for power in range(8)]), [x])["variance-growth"].detail["depth"][0]
    assert linear["fit"] == "linear"
    assert linear["slope"] == pytest.approx(1, abs=0.2)
    assert exponential["fit"] == "exponential"
    assert exponential["growth_per_block"] == pytest.approx(4, rel=0.2)


def test_gradient_norms_are_the_models_own_and_grad_stays_empty() -> None:
    torch.manual_seed(0)
    model = Transformer(20, 32, 2, 3)
    finding = diagnose(model, _tokens()[:1], probes="variance-growth")["variance-growth"]
    assert all(parameter.grad is None for parameter in model.parameters())
    x, y = _tokens()[0]
    model.eval()
    nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten()).backward()
    for site in finding.sites:
        weight = model.get_submodule(site.path).linear2.weight
        assert site.detail["gradient_norm"] == pytest.approx(float(weight.grad.norm()), rel=1e-4)
    assert finding.detail["gradient_spread"] > 0


def test_peri_keeps_the_law() -> None:
    torch.manual_seed(0)
    finding = diagnose(Transformer(20, 64, 4, 8, placement="peri"), _tokens())["variance-growth"]
    assert finding.figure == pytest.approx(1, abs=0.3)


def test_nets_without_a_stream_are_skipped() -> None:
    diagnosis = diagnose(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), [torch.randn(8, 4)], probes="variance-growth")
    assert "residual stream" in diagnosis.skipped[0].reason


def _grown(placement: str) -> Transformer:
    torch.manual_seed(0)
    model = Transformer(20, 32, 2, 4, placement=placement)
    for layer in model.layers:
        layer.linear2.weight.data *= 3000
    return model


def test_the_remedy_is_the_conversion_where_the_blocks_are_pre_norm() -> None:
    model = _grown("pre")
    finding = diagnose(model, _tokens(), probes="variance-growth")["variance-growth"]
    assert finding.severity == "act"
    (remedy,) = finding.remedies
    assert (remedy.to, remedy.kind) == (("peri-ln",), "fresh")
    assert "normkit.convert(model" in remedy.python
    treated = convert(model, "peri-ln", example=_tokens()[0][0]).model
    after = diagnose(treated, _tokens(), probes="variance-growth")["variance-growth"]
    assert after.severity == "ok"
    assert after.figure == pytest.approx(1, abs=0.5)


def test_treating_says_the_loss_before_and_after() -> None:
    """Matched scales keep the growth that was there and need no training; γ = 1 takes it out, and wants training."""
    model, data = _grown("pre"), _tokens()
    diagnosis = diagnose(model, data, probes="variance-growth")
    matched = treat(model, data, diagnosis, remedy=[PeriLN(init="match")])
    assert matched.after.figure == pytest.approx(matched.before.figure, rel=0.5)
    assert matched.quality_before.measure == matched.quality_after.measure
    assert math.isfinite(matched.quality_before.mean)
    assert math.isfinite(matched.quality_after.mean)
    assert matched.cost["parameters"] == 4 * 4 * 32
    with pytest.raises(ValueError, match="peri-ln needs training afterwards"):
        treat(model, data, diagnosis)
    trained = treat(model, data, diagnosis, train_steps=2)
    assert trained.after.severity == "ok"
    assert trained.to == ("peri-ln",)


def test_blocks_that_cannot_be_converted_are_named_with_the_reason() -> None:
    torch.manual_seed(0)
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 2, 64, batch_first=True), 2)
    for layer in model.layers:
        layer.norm2.weight.data *= 100
    finding = diagnose(model, [torch.randn(4, 16, 64)], probes="variance-growth")["variance-growth"]
    assert finding.severity == "act"
    assert "no remedy applies here" in finding.summary
    assert "it is Post-LN" in finding.summary
    assert not finding.remedies
