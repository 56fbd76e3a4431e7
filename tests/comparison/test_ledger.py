import json
from pathlib import Path

import pytest

from normkit.comparison import Run, RunKey
from normkit.comparison.ledger import Ledger

SETTINGS = {"steps": 3, "lrs": [0.1, 0.3]}


def run(seed: int) -> Run:
    return Run(RunKey("baseline", 0.1, 4, seed), quality=1 / 3, loss=0.25, diverged=False, seconds=1.5)


def test_runs_come_back(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, SETTINGS)
    for seed in range(3):
        ledger.add(run(seed))
    again = Ledger(tmp_path, SETTINGS)
    assert list(again) == [run(0), run(1), run(2)]
    assert run(1).key in again
    assert run(7).key not in again


def test_a_line_cut_short_by_a_kill_is_dropped(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, SETTINGS)
    ledger.add(run(0))
    path = tmp_path / "runs.jsonl"
    path.write_text(path.read_text() + '{"key": {"method": "ba')
    again = Ledger(tmp_path, SETTINGS)
    assert list(again) == [run(0)]
    again.add(run(1))
    assert [json.loads(line)["key"]["seed"] for line in path.read_text().splitlines()] == [0, 1]


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    Ledger(tmp_path, SETTINGS).add(run(0))
    with pytest.raises(ValueError, match="another lrs, steps: choose another folder"):
        Ledger(tmp_path, {"steps": 4, "lrs": [0.1]})
    assert list(Ledger(tmp_path, SETTINGS)) == [run(0)]


def test_damaged_files_are_named(tmp_path: Path) -> None:
    Ledger(tmp_path, SETTINGS)
    (tmp_path / "runs.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match=r"runs.jsonl, line 1 is no run"):
        Ledger(tmp_path, SETTINGS)
    (tmp_path / "settings.json").write_text("[")
    with pytest.raises(ValueError, match=r"settings.json is no settings file"):
        Ledger(tmp_path, SETTINGS)


def test_without_a_folder_nothing_is_written(tmp_path: Path) -> None:
    ledger = Ledger(None, SETTINGS)
    ledger.add(run(0))
    assert list(ledger) == [run(0)]
    assert list(tmp_path.iterdir()) == []
