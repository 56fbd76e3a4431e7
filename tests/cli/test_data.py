import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from normkit import data
from normkit.cli.data import app


def run(*arguments: str) -> dict[str, object]:
    result = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_every_set_is_listed() -> None:
    found = run("list")
    assert [each["name"] for each in found["sets"]] == data.names()  # type: ignore[attr-defined]
    assert CliRunner().invoke(app, ["list"]).exit_code == 0


def test_a_set_that_is_there_shows_its_shapes() -> None:
    found = run("info", "digits")
    assert found["X"] == {"shape": [1797, 8, 8, 1], "dtype": "uint8"}
    assert found["split"] == {"train": 1297, "test": 500}
    assert "digits" in CliRunner().invoke(app, ["info", "digits"]).stdout


def test_a_set_that_is_not_there_shows_its_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NORMKIT_DATA", str(tmp_path))
    found = run("info", "mnist")
    assert found["available"] is False
    assert found["can_download"] is True
    assert "X" not in found
    with pytest.raises(data.DataNotFound, match="usps is not on this machine"):
        CliRunner().invoke(app, ["fetch", "usps"], catch_exceptions=False)


def test_what_is_there_is_not_fetched_again() -> None:
    assert run("fetch", "digits")["fetched"] is False


def test_a_misspelt_name_is_named() -> None:
    with pytest.raises(KeyError, match="did you mean digits"):
        CliRunner().invoke(app, ["info", "digit"], catch_exceptions=False)
