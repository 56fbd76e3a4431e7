from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normkit.data import load, random_masks
from normkit.diagnosis import diagnose
from normkit.diagnosis.masked_region import region_shift
from normkit.models.inpainting import DISTANCES, Examples, InpaintGenerator, train
from normkit.nn import RNB


def pictures(batch: int = 8) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(batch, 3, 16, 16, generator=draw)
    return x, random_masks(batch, 16, "rectangle", (0.2, 0.4), draw)


def first(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return model(batch["x"])


class Filled(nn.Module):
    """Fills the holes and normalises once."""

    def __init__(self, norm: nn.Module, fill: float) -> None:
        super().__init__()
        self.norm, self.fill = norm, fill

    def forward(self, images: Tensor, masks: Tensor) -> Tensor:
        x = torch.where(masks.bool(), self.fill, images)
        return self.norm(x, masks) if isinstance(self.norm, RNB) else self.norm(x)


@pytest.mark.parametrize("fill", [1.0, -3.0])
def test_the_closed_form_is_what_instance_norm_does(fill: float) -> None:
    x, masks = pictures()
    filled = torch.where(masks, fill, x).double()
    filled = F.conv2d(filled, torch.randn(4, 3, 5, 5).double(), padding=2)  # the hole is not constant any more
    found = region_shift(filled, masks)
    normal = F.instance_norm(filled, eps=0.0)
    valid = [[normal[i, c][~masks[i, 0]] for c in range(4)] for i in range(len(x))]
    std = torch.tensor([[float(each.std(correction=0)) for each in row] for row in valid])
    mean = torch.tensor([[float(each.mean()) for each in row] for row in valid])
    assert found.known.all()
    torch.testing.assert_close(found.shift.float(), mean.abs() / std)
    torch.testing.assert_close(found.ratio.float(), 1 / std)


def test_each_normaliser_is_judged_by_what_it_takes_together() -> None:
    """BatchNorm's batch and GroupNorm's groups, against the layers themselves."""
    x, masks = pictures()
    x = torch.where(masks, 2.0, torch.cat([x, x + 1], 1))
    valid = ~masks.squeeze(1)
    batch = diagnose(
        nn.Sequential(nn.BatchNorm2d(6)), [{"x": x, "masks": masks}], probes="masked-region", forward=first
    )
    normal = F.batch_norm(x, None, None, training=True).transpose(0, 1)[:, valid].double()
    wanted = (normal.mean(1).abs() / normal.std(1, correction=0)).median()
    assert batch["masked-region"].figure == pytest.approx(float(wanted), rel=1e-3)
    groups = diagnose(
        nn.Sequential(nn.GroupNorm(2, 6)), [{"x": x, "masks": masks}], probes="masked-region", forward=first
    )
    normal = F.group_norm(x, 2).view(8, 2, 3, 16, 16)
    shifts = [
        abs(float(part.mean() / part.std(correction=0)))
        for i in range(8)
        for g in range(2)
        for part in [normal[i, g][:, valid[i]]]
    ]
    assert groups["masked-region"].figure == pytest.approx(float(torch.tensor(shifts).median()), rel=1e-3)


def test_a_fill_far_away_is_found_and_region_norm_cures_it() -> None:
    x, masks = pictures()
    batches = [{"images": x, "masks": masks.float()}]
    sick = diagnose(Filled(nn.InstanceNorm2d(3), 3.0), batches, probes="masked-region")["masked-region"]
    assert sick.severity == "act"
    assert sick.figure == pytest.approx(float(masks.float().mean()) * 3, rel=0.2)
    assert sick.sites[0].detail["ratio"] > 1.2
    assert "RNB" in sick.remedies[0].python
    cured = diagnose(Filled(RNB(3), 3.0), batches, probes="masked-region")["masked-region"]
    assert cured.severity == "ok"
    assert cured.figure < 1e-6


def test_a_hole_like_the_rest_does_no_harm() -> None:
    """A hole is no pathology in itself: what is in it counts."""
    x, masks = pictures(64)
    model = Filled(nn.InstanceNorm2d(3), 0.0)
    finding = diagnose(model, [{"images": x, "masks": masks}], probes="masked-region")["masked-region"]
    assert finding.severity == "ok"


def test_masks_may_come_as_a_pair_and_by_a_forward_of_the_users() -> None:
    x, masks = pictures()
    named = diagnose(Filled(nn.InstanceNorm2d(3), 3.0), [{"images": x, "masks": masks}], probes="masked-region")
    pair = diagnose(
        Filled(nn.InstanceNorm2d(3), 3.0),
        [(x, masks)],
        forward=lambda model, batch: model(*batch),
        loss=lambda output, batch: output.mean(),
        probes="masked-region",
    )
    assert named["masked-region"].figure == pair["masked-region"].figure


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "severity"), [("in", "act"), ("bn", "act"), ("rn", "ok")])
def test_a_network_trained_to_repair_photographs(data_folder: Path, norm: str, severity: str) -> None:
    """The real thing: a hundred steps on photographs, then a look at others."""
    found = load("natural")
    X = torch.from_numpy(found.X).permute(0, 3, 1, 2)
    torch.manual_seed(0)
    generator = InpaintGenerator(width=16, blocks=2, norm=norm, downs=1, kernel_size=5, init_scale=1.0)
    train(generator, Examples(X[found.split["train"]], 24), DISTANCES, steps=100, batch_size=8)
    test = Examples(X[found.split["test"]], 24)
    batches = [test.__getitems__(range(start, start + 8)) for start in range(0, 32, 8)]
    assert diagnose(generator, batches, probes="masked-region")["masked-region"].severity == severity


def test_without_masks_it_says_what_to_give() -> None:
    x, _ = pictures()
    diagnosis = diagnose(nn.InstanceNorm2d(3), [x], probes="masked-region")
    assert "`masks` (batch, 1, height, width), true in the hole" in diagnosis.skipped[0].reason
    diagnosis = diagnose(nn.LayerNorm(16), [x], probes="masked-region")
    assert diagnosis.skipped[0].reason == "no layer normalises over the pixels of a picture"


def test_pictures_without_a_hole_are_not_judged() -> None:
    x, masks = pictures()
    diagnosis = diagnose(
        Filled(nn.InstanceNorm2d(3), 3.0), [{"images": x, "masks": masks & False}], probes="masked-region"
    )
    assert "no picture has both a hole and a rest" in diagnosis.skipped[0].reason
