import pytest
import torch
import torch.nn.functional as F
from torch import nn

from normkit.diagnosis import diagnose
from tests.diagnosis.networks import convnet, images


def _trained_once(model: nn.Module) -> nn.Module:
    """Running statistics filled, so that evaluation mode is measured."""
    for x, _ in images(64, 20):
        model(x)
    return model


def test_shut_and_open_channels_are_counted() -> None:
    model = _trained_once(convnet())
    with torch.no_grad():
        model[7].bias[:2], model[7].bias[2] = -6, 6
    finding = diagnose(model, images(64), probes="elimination")["elimination"]
    assert finding.severity == "act"
    assert [site.figure for site in finding.sites] == pytest.approx([0, 0, 3 / 8])
    assert (finding.sites[2].detail["dead"], finding.sites[2].detail["linear"]) == (2, 1)


def test_spread_and_nearness_are_those_of_the_channels() -> None:
    norm = nn.GroupNorm(1, 4)
    with torch.no_grad():
        norm.bias.copy_(torch.tensor([-1.0, 0.0, 1.0, 2.0]))
    batches = [torch.randn(64, 4, 5, 5, generator=torch.Generator().manual_seed(seed)) for seed in range(2)]
    finding = diagnose(nn.Sequential(norm, nn.ReLU()), batches, probes="elimination")["elimination"]
    x = norm(torch.cat(batches)).detach().double().movedim(1, 0).flatten(1)
    mean, deviation = x.mean(1), x.std(1, correction=0)
    assert finding.severity == "ok"
    detail = finding.sites[0].detail
    assert detail["spread"] == pytest.approx(float((mean[:, None] - mean).abs().mean() / deviation.mean()), rel=1e-6)
    assert detail["nearest"] == pytest.approx(float((mean.abs() / deviation).max()), rel=1e-6)


@pytest.mark.parametrize("style", ["module", "inplace", "functional", "method"])
def test_relu_is_seen_however_it_is_written(style: str) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8)
            self.relu = nn.ReLU(inplace=style == "inplace")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.norm(self.conv(x))
            if style == "functional":
                return F.relu(x)
            return x.relu() if style == "method" else self.relu(x)

    finding = diagnose(Net(), [x for x, _ in images(64)], probes="elimination")["elimination"]
    assert len(finding.sites) == 1
    assert finding.sites[0].detail["channels"] == 8


def test_what_is_added_before_the_relu_does_not_count() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.relu(x + self.norm(x))

    diagnosis = diagnose(Residual(), [x for x, _ in images(64)], probes="elimination")
    assert diagnosis.skipped[0].reason == "no ReLU stands straight behind a normalisation layer"


def test_too_few_samples_are_not_judged() -> None:
    diagnosis = diagnose(convnet(), images(4), probes="elimination")
    assert "max_batches" in diagnosis.skipped[0].reason


def test_missing_running_statistics_are_not_taken_for_eliminations() -> None:
    """A net that has never trained: in evaluation mode its statistics are 0 and 1, whatever the data are."""
    model = convnet().eval()
    with torch.no_grad():
        model[0].bias.add_(10)
    assert diagnose(model, images(64), probes="elimination")["elimination"].severity == "ok"
    with torch.no_grad():
        model[1].num_batches_tracked.fill_(1)
        model[4].num_batches_tracked.fill_(1)
        model[7].num_batches_tracked.fill_(1)
    assert diagnose(model, images(64), probes="elimination")["elimination"].severity == "act"
