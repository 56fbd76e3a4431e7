import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normkit.data import random_masks
from normkit.diagnosis import diagnose
from normkit.diagnosis.masked_region import region_shift
from normkit.nn import RNB


def pictures(batch: int = 8) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(batch, 3, 16, 16, generator=draw)
    return x, random_masks(batch, 16, "box", (0.2, 0.4), draw)


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
