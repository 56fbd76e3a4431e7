"""`normkit inpaint` on a folder of photographs: train, go on, measure, fill; what is wrong is one line."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from typer.testing import CliRunner

from normkit.cli.inpaint import app
from normkit.data import read_picture, save_picture

RUN = CliRunner()
SMALL = ("--size", "16", "--width", "4", "--blocks", "1", "--batch-size", "4", "--device", "cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six photographs, two masks of a folder's own, and a network trained on them for two steps."""
    root = tmp_path_factory.mktemp("inpaint")
    for name in ("photographs", "masks"):
        (root / name).mkdir()
    coarse = torch.rand(6, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    for index, picture in enumerate(F.interpolate(coarse, size=(30, 40), mode="bicubic").clamp(0, 1)):
        save_picture(root / "photographs" / f"{index}.png", picture)
    mask = torch.zeros(3, 30, 40)
    mask[:, 8:20, 10:30] = 1
    for name in ("a.png", "b.png"):
        save_picture(root / "masks" / name, mask)
    call("train", "--images", root / "photographs", "--out", root / "net", "--steps", 2, *SMALL)
    return root


def call(*arguments: Any) -> dict[str, Any]:
    done = RUN.invoke(app, [*map(str, arguments), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_training_goes_on_where_it_was(folder: Path) -> None:
    common = ("train", "--images", folder / "photographs", "--out", folder / "net", *SMALL)
    done = call(*common, "--steps", 4)
    assert (done["steps"], done["resumed_from"]) == (4, 2)
    kept = {"generator.safetensors", "training.safetensors", "settings.json"}
    assert {path.name for path in (folder / "net").iterdir()} == kept
    with pytest.raises(ValueError, match=r"a run with other settings \(seed 0, not 7\)"):
        call(*common, "--steps", 6, "--seed", 7)
    assert call(*common, "--steps", 1, "--fresh")["resumed_from"] is None


def test_eval_writes_a_table_and_pictures(folder: Path, tmp_path: Path) -> None:
    network = folder / "net" / "generator.safetensors"
    common = ("eval", "--checkpoint", network, "--images", folder / "photographs", "--size", 16, "--count", 4)
    done = call(*common, "--out", tmp_path / "out")
    assert len(done["buckets"]) == 5
    assert (tmp_path / "out" / "inpainting.csv").read_text().count("\n") == 6
    assert read_picture(tmp_path / "out" / "pictures.png").shape == (3, 4 * 16, 3 * 16)
    own = call(*common, "--masks", folder / "masks")
    assert len(own["buckets"]) == 1
    with pytest.raises(FileExistsError, match="is not empty"):
        call(*common, "--out", tmp_path / "out")


def test_fill_repairs_one_photograph(folder: Path, tmp_path: Path) -> None:
    photograph, out = folder / "photographs" / "0.png", tmp_path / "whole.png"
    common = ("fill", "--checkpoint", folder / "net" / "generator.safetensors", "--image", photograph, "--out", out)
    done = call(*common, "--mask", folder / "masks" / "a.png")
    assert done["area"] == pytest.approx(12 * 20 / (30 * 40))
    before, after = read_picture(photograph), read_picture(out)
    keep = torch.ones_like(before, dtype=torch.bool)
    keep[:, 8:20, 10:30] = False
    assert torch.equal(before[keep], after[keep])
    assert not torch.equal(before, after)
    with pytest.raises(FileExistsError, match="is there already"):
        call(*common, "--mask", folder / "masks" / "a.png")
    call(*common, "--mask", folder / "masks" / "a.png", "--force")


@pytest.mark.parametrize(("name", "said"), [("whole.jpg", True), ("whole.png", False)])
def test_fill_says_where_a_format_loses(name: str, said: bool, folder: Path, tmp_path: Path) -> None:
    files = {"--checkpoint": "net/generator.safetensors", "--image": "photographs/0.png", "--mask": "masks/a.png"}
    given = [str(each) for option, path in files.items() for each in (option, folder / path)]
    result = CliRunner().invoke(app, ["fill", *given, "--out", str(tmp_path / name)], catch_exceptions=False)
    assert result.exit_code == 0
    assert ("a .png keeps every pixel" in result.output) is said


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("train", "--images", "nowhere", "--out", "x"), FileNotFoundError, "nowhere is no folder"),
        (
            ("train", "--images", "{}/photographs", "--out", "x", "--masks", "y"),
            FileNotFoundError,
            "or a folder of masks",
        ),
        (("train", "--images", "{}/photographs", "--out", "x", "--batch-size", 9), ValueError, "make no batch of 9"),
        (("train", "--images", "{}/photographs", "--out", "x", "--size", 17), ValueError, "must be a multiple of 2"),
        (
            ("train", "--images", "{}/photographs", "--out", "x", "--size", 16, "--gan", "--batch-size", 4),
            ValueError,
            "judges patches of 24 pixels",
        ),
        (("eval", "--images", "{}/photographs", "--checkpoint", "x"), FileNotFoundError, "x is no file"),
        (
            ("fill", "--checkpoint", "{}/photographs/0.png", "--image", "y", "--mask", "z", "--out", "a.png"),
            ValueError,
            "holds no inpainting network",
        ),
    ],
)
def test_what_is_wrong_is_said(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple, error: type, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        call(*(str(each).format(folder) for each in arguments))
    assert not list(tmp_path.iterdir())
