import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from normkit import search
from normkit.cli import evolve

APP = typer.Typer()
APP.command()(evolve.command)
SMALL = ["--evaluations", "1", "--proposals", "10", "--steps", "8", "--architectures", "plain", "--blocks", "1"]
SMALL += ["--channels", "4", "--n-jobs", "1", "--top", "1"]


def run(*arguments: str) -> dict[str, object]:
    result = CliRunner().invoke(APP, [*SMALL, *arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def fails(kind: type[Exception], said: str, *arguments: str) -> None:
    with pytest.raises(kind, match=said):
        CliRunner().invoke(APP, list(arguments), catch_exceptions=False)


@pytest.fixture
def images(tmp_path: Path) -> str:
    """Two classes that the mean tells apart."""
    y = np.arange(60) % 2
    X = (np.random.default_rng(0).integers(0, 100, (60, 8, 8, 1)) + 120 * y[:, None, None, None]).astype(np.uint8)
    np.savez(tmp_path / "images.npz", X=X, y=y)
    return str(tmp_path / "images.npz")


def test_a_search_leaves_layers_and_a_rerun_goes_on(images: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    enough = ("--evaluations", "12", "--proposals", "150")
    found = run("--data", images, "--out", str(out), *enough)
    assert len(found["layers"]) == 1  # type: ignore[arg-type]
    assert {"schema", "versions", "device", "seconds", "fates", "layers", "yardsticks"} <= found.keys()
    assert [each["name"] for each in found["yardsticks"]] == ["batch-norm-relu", "group-norm-relu"]  # type: ignore
    assert (out / "report.html").read_text().count("<svg") == 2
    kept = json.loads((out / "best.json").read_text())
    assert kept["layers"] == found["layers"]
    assert "class EvolvedNorm2d(nn.Module)" in (out / "layer_1.py").read_text()
    log = (out / "search.jsonl").read_text()
    again = run("--data", images, "--out", str(out), *enough)
    assert again["layers"] == found["layers"]
    assert (out / "search.jsonl").read_text() == log


def test_the_table_is_for_people(images: str) -> None:
    result = CliRunner().invoke(APP, [*SMALL, "--data", images], catch_exceptions=False)
    assert result.exit_code == 0
    assert "proposals:" in result.output


def test_only_what_was_written_is_named(images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search.Search, "best", lambda self, k: [])
    out = tmp_path / "out"
    said = CliRunner().invoke(APP, [*SMALL, "--data", images, "--out", str(out)], catch_exceptions=False).output
    assert "No candidate passed the test" in said
    assert "search.jsonl (the log), best.json, report.html are in" in said
    assert sorted(path.name for path in out.iterdir()) == ["best.json", "report.html", "search.jsonl"]


def test_mistakes_are_named(images: str, tmp_path: Path) -> None:
    fails(ValueError, "no architecture 'vgg'", "--architectures", "vgg")
    fails(ValueError, "ops='T'", "--ops", "T")
    fails(ValueError, "sampler is 'bush'", "--sampler", "bush")
    fails(FileNotFoundError, "no such file", "--data", str(tmp_path / "none.npz"))
    run("--data", images, "--out", str(tmp_path / "out"))
    fails(ValueError, "another data, seed", *SMALL, "--data", images, "--out", str(tmp_path / "out"), "--seed", "1")
