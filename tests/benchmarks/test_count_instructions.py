"""`make instructions`: what it compares, and that the committed table meets its own bars."""

import importlib.util
import json
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "count_instructions.py"


@pytest.fixture
def counting():
    spec = importlib.util.spec_from_file_location("count_instructions", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_table_names_its_compiler_and_holds_every_case(counting):
    table = json.loads(counting.TABLE.read_text(encoding="utf-8"))
    assert table["compiler"]
    assert table["isa"] == "avx2"
    assert set(table["per_element"]) == {f"{name} {rows}x{dim}" for name, rows, dim in counting.CASES}
    assert all(table["per_element"][key] <= most for key, most in counting.BARS.items())


@pytest.mark.parametrize(
    ("key", "count", "wanted", "says"),
    [
        ("softmax_reload 1x4096", 3.4, 3.4, ""),
        ("softmax_reload 1x4096", 3.6, 3.6, "more than 3.5"),
        ("layer_norm 16x1024", 2.05, 2.0, ""),
        ("layer_norm 16x1024", 2.1, 2.0, "+5.0% from the table"),
        ("layer_norm 16x1024", 1.9, 2.0, "-5.0% from the table"),
        ("new 1x1", 1.0, None, "not in the table"),
    ],
)
def test_a_count_is_judged_by_its_bar_and_by_three_percent(counting, key, count, wanted, says):
    assert counting.complaint(key, count, wanted).startswith(says)
    assert bool(counting.complaint(key, count, wanted)) is bool(says)


def fake(tmp_path, monkeypatch, counting, compiler, counts):
    table = {"isa": "avx2", "compiler": "one", "per_element": {f"{n} {r}x{d}": 2.0 for n, r, d in counting.CASES}}
    path = tmp_path / "instructions.json"
    path.write_text(json.dumps(table))
    monkeypatch.setattr(counting, "TABLE", path)
    monkeypatch.setattr(counting, "compiler", lambda driver: compiler)
    monkeypatch.setattr(counting, "per_element", lambda driver, name, rows, dim: counts)
    monkeypatch.setattr("sys.argv", ["count_instructions.py", "driver"])
    return counting.main()


@pytest.mark.parametrize(("compiler", "counts", "status"), [("one", 2.0, 0), ("one", 3.0, 1), ("another", 3.0, 0)])
def test_only_the_tables_own_compiler_is_judged(tmp_path, monkeypatch, capsys, counting, compiler, counts, status):
    assert fake(tmp_path, monkeypatch, counting, compiler, counts) == status
    assert ("nothing was judged" in capsys.readouterr().out) is (compiler == "another")
