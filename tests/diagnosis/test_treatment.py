import json
from pathlib import Path

import pytest
import torch
from torch import nn

import normkit
from normkit.diagnosis import diagnose, treat
from normkit.models import Transformer
from normkit.nn import BatchChannelNorm2d
from tests.diagnosis.networks import convnet, images, same, state


def test_a_calibrated_remedy_is_applied_and_measured_at_the_same_places() -> None:
    torch.manual_seed(0)
    model, batches = convnet(), images(1, 64)
    before = state(model)
    treatment = treat(model, batches, remedy="batch-channel-norm", max_batches=64)
    assert same(before, state(model))
    assert isinstance(treatment.model[1], BatchChannelNorm2d)
    assert [site.path for site in treatment.before.sites] == [site.path for site in treatment.after.sites]
    assert treatment.before.severity == "act"
    assert treatment.improved
    assert treatment.after.figure < treatment.before.figure


def test_an_exact_remedy_keeps_the_function() -> None:
    torch.manual_seed(0)
    model = Transformer(20, 16, 2, 2, placement="pre")
    ids = torch.randint(20, (3, 4, 9))
    batches = [(each[:, :-1], each[:, 1:]) for each in ids]
    treatment = treat(model, batches)
    assert treatment.to == ("pre-rmsnorm",)
    assert treatment.conversion.kind == "exact"
    assert treatment.after.severity == "ok"
    model.eval()
    treatment.model.eval()
    torch.testing.assert_close(treatment.model(ids[0]), model(ids[0]), rtol=1e-4, atol=1e-4)
    assert treatment.quality_before.mean == treatment.quality_after.mean


def test_training_after_the_remedy_is_within_the_budget() -> None:
    torch.manual_seed(0)
    treatment = treat(convnet(), images(4, 8), remedy=["group-norm"], train_steps=5)
    assert treatment.cost["train_steps"] == 5
    assert all(site.figure == 0 for site in treatment.after.sites)
    assert treatment.quality_after.measure == "accuracy"


def test_to_dict_has_the_keys_of_the_contract() -> None:
    torch.manual_seed(0)
    payload = treat(convnet(), images(1, 32), remedy="group-norm", max_batches=32).to_dict()
    assert {"to", "before", "after", "quality_before", "quality_after", "cost", "improved"} <= payload.keys()
    json.dumps(payload, allow_nan=False)


def test_what_is_saved_can_be_loaded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, batches = convnet(), images(1, 32)
    treatment = treat(model, batches, remedy="batch-channel-norm", max_batches=32)
    folder = treatment.save(tmp_path / "treated")
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "recipe.json"}
    again = normkit.load(folder, model=convnet()).eval()
    torch.testing.assert_close(again(batches[0][0]), treatment.model.eval()(batches[0][0]))
    with pytest.raises(FileExistsError):
        treatment.save(tmp_path / "treated")


def test_the_report_shows_before_and_after_on_the_same_axes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, batches = convnet(), images(1, 32)
    diagnosis = diagnose(model, batches, max_batches=32)
    treatment = treat(model, batches, diagnosis, remedy="group-norm", max_batches=32)
    page = treatment.report(tmp_path / "report.html", diagnosis).read_text(encoding="utf-8")
    assert "before and after" in page
    assert ">before<" in page
    assert ">after<" in page


def test_bad_input() -> None:
    healthy = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(144, 10))
    with pytest.raises(ValueError, match="nothing to treat"):
        treat(healthy, images(4))
    with pytest.raises(ValueError, match="no remedy 'nothing'"):
        treat(convnet(), images(1), remedy="nothing")
    with pytest.raises(ValueError, match="iterator"):
        treat(convnet(), iter(images(1)))


def test_refused_remedies_are_named() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    batches = [(torch.randn(2, 8), torch.arange(2)) for _ in range(8)]
    with pytest.raises(ValueError, match="evonorm-s0 was refused"):
        treat(model, batches, remedy="evonorm-s0")
