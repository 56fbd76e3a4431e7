import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from normkit.conversion import convert
from normkit.diagnosis import diagnose
from normkit.diagnosis.batch_noise import BatchNoise, _Noise
from normkit.models import SequenceBatchNorm, character_model
from normkit.nn import BatchChannelNorm2d, EvoNorm2dB0, EvoNorm2dS0, PowerNorm
from tests.diagnosis.networks import convnet, images


def _noise(x: torch.Tensor, eps: float = 0.0) -> dict[str, float]:
    """Sums over the batches x (K, N, C, …)."""
    noise = _Noise(eps)
    for batch in x:
        noise.add(batch)
    noise.fold()
    result = noise.result()
    assert result is not None
    return result


def _by_definition(x: torch.Tensor) -> float:
    """E (u − y)² from its definition, channel by channel; batches many enough for μ and σ² to be those of all data."""
    wide = x.double().movedim(2, 0).flatten(3).flatten(2) if x.ndim > 3 else x.double().movedim(2, 0)
    mean, deviation = wide.mean((1, 2), keepdim=True), wide.std((1, 2), correction=0, keepdim=True)
    batch_mean, batch_deviation = wide.mean(2, keepdim=True), wide.std(2, correction=0, keepdim=True)
    u, y = (wide - batch_mean) / batch_deviation, (wide - mean) / deviation
    return float((u - y).square().mean())


@given(st.integers(2, 12), st.integers(1, 6), st.floats(-50, 50), st.floats(0.01, 100), st.integers(0, 10))
@settings(max_examples=30, deadline=None)
def test_the_figure_is_the_definition(size: int, channels: int, shift: float, scale: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(400, size, channels, generator=generator, dtype=torch.float64) * scale + shift
    assert _noise(x)["total"] == pytest.approx(_by_definition(x), rel=0.02)


@pytest.mark.parametrize("size", [4, 16, 64, 256])
def test_independent_gaussians_meet_their_expectation(size: int) -> None:
    x = torch.randn(300, size, 8, generator=torch.Generator().manual_seed(size), dtype=torch.float64)
    result = _noise(x)
    assert result["mean"] == pytest.approx(1 / size, rel=0.1)
    assert result["expected"] == pytest.approx(1.5 / size, rel=0.1)
    assert result["total"] == pytest.approx(1.5 / size, rel=0.35 if size < 16 else 0.1)


def test_the_threshold_is_150_values_a_channel() -> None:
    assert math.sqrt(1.5 / 150) == pytest.approx(BatchNoise.threshold)


def test_a_scale_or_shift_of_a_channel_does_not_matter() -> None:
    x = torch.randn(20, 8, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moved = x * torch.tensor([1e-3, 1.0, 1e3], dtype=torch.float64).view(3, 1, 1) + 7
    assert _noise(x)["total"] == pytest.approx(_noise(moved)["total"], rel=1e-9)


def test_one_batch_alone_is_judged_by_its_samples() -> None:
    x = torch.randn(1, 64, 8, generator=torch.Generator().manual_seed(0))
    assert _noise(x)["mean"] == pytest.approx(1 / 64, rel=1e-6)


def test_sorted_batches_exceed_the_expectation_and_are_named() -> None:
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2))
    batches = [torch.randn(128, 4) + 3 * index for index in range(8)]
    finding = diagnose(model, batches, probes="batch-noise")["batch-noise"]
    assert finding.severity == "act"
    assert finding.figure > 5 * finding.sites[0].detail["expected"]
    assert "shuffle" in finding.summary


def test_small_batches_act_and_large_ones_do_not() -> None:
    assert diagnose(convnet(), images(1, 32), max_batches=32)["batch-noise"].severity == "act"
    assert diagnose(convnet(), images(128))["batch-noise"].severity == "ok"


def test_layers_free_of_the_batch_have_zero_by_construction() -> None:
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.GroupNorm(2, 8), nn.InstanceNorm2d(8), EvoNorm2dS0(8, groups=2))
    finding = diagnose(model, [x for x, _ in images(1)], probes="batch-noise")["batch-noise"]
    assert finding.severity == "ok"
    assert [site.figure for site in finding.sites] == [0.0, 0.0, 0.0]
    assert "by construction" in finding.summary


def test_frozen_batch_norm_injects_nothing() -> None:
    model = convnet().train()
    for module in model:
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    finding = diagnose(model, images(1), probes="batch-noise")["batch-noise"]
    assert [site.detail["kind"] for site in finding.sites] == ["frozen"] * 3
    assert finding.severity == "ok"


def test_an_estimate_is_quieter_than_a_batch_by_its_window() -> None:
    """A stationary average of speed r has r/(2 − r) of the variance of one batch, here checked by simulation."""
    speed, steps = 0.05, 20_000
    x = torch.randn(steps, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    average, history = torch.zeros((), dtype=torch.float64), []
    for value in x:
        average = (1 - speed) * average + speed * value
        history.append(average)
    measured = torch.stack(history[500:]).var()
    assert float(measured) == pytest.approx(speed / (2 - speed), rel=0.15)


def test_before_and_after_stand_at_the_same_places() -> None:
    torch.manual_seed(0)
    model = convnet()
    before = diagnose(model, images(1, 32), probes="batch-noise", max_batches=32)["batch-noise"]
    for index in (1, 4, 7):
        model[index] = BatchChannelNorm2d(8, 2)
    after = diagnose(model, images(1, 32), probes="batch-noise", max_batches=32)["batch-noise"]
    assert [site.path for site in before.sites] == [site.path for site in after.sites] == ["1", "4", "7"]
    assert all(site.detail["kind"] == "estimate" for site in after.sites)
    assert after.figure < before.figure


def test_batch_norm_without_positions_on_a_single_sample() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    finding = diagnose(model, [torch.randn(1, 4) for _ in range(8)], probes="batch-noise")["batch-noise"]
    assert finding.severity == "act"
    assert finding.figure == pytest.approx(1, rel=0.01)
    assert "evaluation mode" in finding.detail["note"]


def test_only_the_scale_counts_where_a_layer_does_not_centre() -> None:
    model = nn.Sequential(nn.Conv2d(1, 8, 3), EvoNorm2dB0(8))
    site = diagnose(model, [x for x, _ in images(2)], probes="batch-noise")["batch-noise"].sites[0]
    assert site.detail["mean_noise"] == 0
    assert site.figure == site.detail["scale_noise"] > 0


def test_a_layer_that_runs_twice_is_two_places() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(self.norm(x) ** 2)

    finding = diagnose(Twice(), [x for x, _ in images(4)], probes="batch-noise")["batch-noise"]
    assert [site.path for site in finding.sites] == ["norm", "norm (call 2)"]


def test_power_norm_is_noisy_by_its_batch_until_the_warm_up_ends() -> None:
    """(1 − ψ_B/ψ)² while the batch's quadratic mean is used; then r/(2 − r) of Var(ψ_B²)/(4ψ⁴), with r = 1 − α."""
    generator = torch.Generator().manual_seed(0)
    batches = list(torch.randn(400, 16, 4, generator=generator) + 2)
    layers = {
        "warm": PowerNorm(4, group_num=0, warmup_iters=1000),
        "variant": PowerNorm(4, group_num=0, warmup_iters=0, variant="pn-v"),
        "running": PowerNorm(4, group_num=0, warmup_iters=0, alpha_fwd=0.9),
    }
    found = {
        name: diagnose(nn.Sequential(layer), batches, probes="batch-noise", max_batches=400)["batch-noise"].sites[0]
        for name, layer in layers.items()
    }
    psi = torch.stack([batch.square().mean(0) for batch in batches]).sqrt()
    noise = float((1 - psi / psi.square().mean(0).sqrt()).square().mean()) ** 0.5
    assert found["warm"].figure == pytest.approx(noise, rel=0.02)
    assert found["variant"].figure == found["warm"].figure
    assert found["running"].figure == pytest.approx(noise * (0.1 / 1.9) ** 0.5, rel=0.1)
    assert [site.detail["kind"] for site in found.values()] == ["batch", "batch", "estimate"]
    assert all(site.detail["mean_noise"] == 0 for site in found.values())


def test_a_transformer_with_batch_norm_is_offered_power_norm_which_quiets_it() -> None:
    model = character_model(60, 2, norm=SequenceBatchNorm, placement="post")
    windows = list(torch.randint(60, (32, 1, 24), generator=torch.Generator().manual_seed(0)))
    for window in windows:
        model(window)
    before = diagnose(model, windows, probes="batch-noise", max_batches=32)["batch-noise"]
    assert before.severity == "act"
    assert "powernorm" in [remedy.name for remedy in before.remedies]
    treated = convert(model, "powernorm", data=windows).model
    after = diagnose(treated, windows, probes="batch-noise", max_batches=32)["batch-noise"]
    assert [site.path for site in after.sites] == [site.path for site in before.sites]
    assert after.figure < before.figure / 4
    assert after.severity == "ok"
