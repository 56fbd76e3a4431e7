"""Outlier fluctuation: the figure is what one batch does to a stored statistic, and the filter takes it away."""

import math

import pytest
import torch
from torch import Tensor, nn

from normkit.conversion import convert
from normkit.diagnosis import diagnose
from normkit.diagnosis.outlier_fluctuation import outliers
from normkit.models import VisionTransformer
from normkit.nn import PowerNorm, UnifiedNorm

WIDTH = 8


def batches(scales: list[float]) -> list[Tensor]:
    """Batches (16, 10, WIDTH) of Gaussian values, each with its own scale."""
    generator = torch.Generator().manual_seed(0)
    return [scale * torch.randn(16, 10, WIDTH, generator=generator) for scale in scales]


def figure_of(norm: nn.Module, data: list[Tensor]) -> tuple[float, str]:
    finding = diagnose(nn.Sequential(norm), data, probes=["outlier-fluctuation"], max_batches=len(data))[
        "outlier-fluctuation"
    ]
    return finding.figure, finding.severity


def test_the_threshold_is_a_batch_of_3_35_times_the_usual_mean_square() -> None:
    same = torch.randn(16, 10, WIDTH, generator=torch.Generator().manual_seed(0))
    for factor, severity in ((3.2, "ok"), (3.5, "act")):
        loud = math.sqrt(factor ** (40 / 39))  # the loud batch is one of the 40 that the usual one is the mean of
        assert figure_of(nn.LayerNorm(WIDTH), [same] * 39 + [loud * same])[1] == severity


def test_the_figure_is_what_a_running_statistic_would_do() -> None:
    data = batches([1.0] * 7 + [20.0])
    figure, severity = figure_of(nn.LayerNorm(WIDTH), data)
    square = torch.stack([batch.double().square().mean((0, 1)) for batch in data])
    running = square.log().mean(0).exp()
    after = 0.9 * running + 0.1 * square[-1]
    assert figure == pytest.approx(float((1 - (running / after).sqrt()).square().mean().sqrt()), rel=1e-4)
    assert severity == "act"


def test_the_figure_of_unified_norm_is_what_its_window_does() -> None:
    data = batches([1.0] * 7 + [20.0])
    figure, _ = figure_of(UnifiedNorm(WIDTH), data)
    square = torch.stack([batch.double().square().mean((0, 1)) for batch in data])
    factor = (square[-1] / square.log().mean(0).exp()) ** (-1 / 8)
    assert figure == pytest.approx(float((1 - factor).square().mean().sqrt()), rel=1e-4)


def test_independent_samples_stay_where_the_derivation_puts_them() -> None:
    figure, severity = figure_of(nn.LayerNorm(WIDTH), batches([1.0] * 8))
    assert severity == "ok"
    assert figure < 3 * 0.05 * math.sqrt(2 / 160)


@pytest.mark.parametrize(
    ("norm", "severity"),
    [
        (PowerNorm(WIDTH), "ok"),
        (PowerNorm(WIDTH, group_num=0), "act"),
        (UnifiedNorm(WIDTH), "act"),
        (UnifiedNorm(WIDTH, outlier_filtration=True), "ok"),
    ],
    ids=["PowerNorm", "PowerNorm without layer scale", "UnifiedNorm", "UnifiedNorm with its filter"],
)
def test_what_a_filter_skips_or_a_layer_scale_takes_out_does_no_harm(norm: nn.Module, severity: str) -> None:
    assert figure_of(norm, batches([1.0] * 5 + [20.0, 1.0, 1.0]))[1] == severity


def test_the_filter_of_the_layer_and_of_the_probe_agree() -> None:
    scales = [1.0] * 6 + [30.0, 1.0, 1.0, 30.0, 1.0]
    layer = UnifiedNorm(WIDTH, warmup_iters=0, outlier_filtration=True)
    skipped = []
    for batch in batches(scales):
        before = int(layer.skip_counter)
        layer(batch)
        skipped.append(int(layer.skip_counter) > before)
    rows = torch.stack([batch.double().square().mean((0, 1)) for batch in batches(scales)])
    loud = torch.tensor([scale > 1 for scale in scales])
    assert torch.tensor(skipped)[loud].all()
    assert outliers(rows, 4)[loud].all()


def test_the_remedy_takes_the_figure_away() -> None:
    torch.manual_seed(0)
    images = [torch.randn(16, 1, 8, 8) for _ in range(8)]
    images[6][:2] *= 50
    model = VisionTransformer(placement="post", num_layers=1).eval()
    before = diagnose(model, images, probes=["outlier-fluctuation"])["outlier-fluctuation"]
    assert (before.severity, before.remedies[0].name) == ("act", "unified-norm")
    after = diagnose(convert(model, "unified-norm", data=images[:4]).model, images, probes=["outlier-fluctuation"])
    assert after["outlier-fluctuation"].severity == "ok"


def test_few_batches_are_not_judged() -> None:
    diagnosis = diagnose(nn.Sequential(nn.LayerNorm(WIDTH)), batches([1.0] * 4), probes=["outlier-fluctuation"])
    assert "4 batches are too few" in diagnosis.skipped[0].reason


def test_gpt2_on_random_tokens_is_ok() -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"vocab_size": 64, "n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 4}
    model = transformers.GPT2Model(transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))
    data = [{"input_ids": torch.randint(64, (4, 32))} for _ in range(6)]
    finding = diagnose(model, data, probes=["outlier-fluctuation"])["outlier-fluctuation"]
    assert finding.severity == "ok"
    assert len(finding.sites) == 5


def test_batch_noise_of_unified_norm_is_that_of_its_window() -> None:
    """After the warm-up 1/M of one batch's variance, before it all of it."""
    data = [batch[:1] for batch in batches([1.0] * 16)]
    warm, settled = UnifiedNorm(WIDTH, warmup_iters=100), UnifiedNorm(WIDTH, warmup_iters=0)
    settled.iters.fill_(50)
    figures = [
        diagnose(nn.Sequential(norm).train(), data, probes=["batch-noise"], max_batches=16)["batch-noise"].figure
        for norm in (warm, settled)
    ]
    assert figures[1] < 0.7 * figures[0]
