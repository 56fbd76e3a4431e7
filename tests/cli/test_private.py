"""`normkit private build|query` on tables of one's own; what is wrong is one line and spends nothing."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from normkit.cli.private import app
from normkit.estimators import load_private
from normkit.estimators.private.exact import exact_distance_sums, exact_kernel_sums

RUN = CliRunner()
RNG = np.random.default_rng(0)
BOUNDS = ("--low", -1, "--high", 1)
X, Y = RNG.uniform(-1, 1, (300, 3)), RNG.uniform(-1, 1, (7, 3))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A private table with a column of labels, the same without, and queries with columns in another order."""
    labels = np.where(X[:, 0] > 0, "high", "low")
    _write(tmp_path / "private.csv", ["a", "b", "c"], X.tolist())
    _write(
        tmp_path / "labelled.csv", ["a", "kind", "b", "c"], [[r[0], k, *r[1:]] for r, k in zip(X, labels, strict=True)]
    )
    _write(tmp_path / "queries.csv", ["c", "a", "b"], Y[:, [2, 0, 1]].tolist())
    return tmp_path


def _write(path: Path, names: list[str] | None, rows: list[list[Any]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(([names] if names else []) + rows)


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    with path.open(newline="") as file:
        names, *rows = csv.reader(file)
    return names, rows


def call(*arguments: Any) -> dict[str, Any]:
    done = RUN.invoke(app, [*map(str, arguments), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_kernel_sums_by_file(folder: Path) -> None:
    release, out = folder / "release.safetensors", folder / "answers.csv"
    options = ("--epsilon", 1e6, "--bandwidth", 2, "--features", 4000)
    built = call("build", folder / "private.csv", "--out", release, *options)
    assert built["kind"] == "PrivateKernelDensity"
    assert (built["columns"], built["spend"]["epsilon"], built["spend"]["source"]) == (3, 1e6, "opendp")
    asked = call("query", release, folder / "queries.csv", "--out", out)
    assert asked["queries"] == 7
    names, rows = _read(out)
    assert names == asked["columns"] == ["sum", "noise_std", "error_std"]
    found = np.asarray(rows, dtype=float)
    np.testing.assert_allclose(found[:, 0], exact_kernel_sums(X, Y, bandwidth=2.0), rtol=0.05)
    fitted, frame = load_private(release), pd.DataFrame(Y, columns=list("abc"))
    np.testing.assert_allclose(found[:, 1], fitted.noise_std(frame))
    np.testing.assert_allclose(found[:, 2], fitted.estimate_error(frame))
    call("query", release, folder / "queries.csv", "--out", out, "--mean", "--force")
    np.testing.assert_allclose(np.asarray(_read(out)[1], dtype=float)[:, 0], found[:, 0] / 300, rtol=1e-3)


def test_distances_by_file(folder: Path) -> None:
    release, out = folder / "release.safetensors", folder / "answers.csv"
    for metric in (("sqeuclidean",), ("lp", "--p", 3)):
        build = ("--out", release, "--epsilon", 1e6, "--metric", *metric, *BOUNDS, "--force")
        call("build", folder / "private.csv", *build)
        call("query", release, folder / "queries.csv", "--out", out, "--force")
        found = np.asarray(_read(out)[1], dtype=float)[:, 0]
        exact = exact_distance_sums(X, Y, metric[0]) if metric[0] != "lp" else (abs(X[:, None] - Y) ** 3).sum((0, 2))
        np.testing.assert_allclose(found, exact, rtol=1e-3)


def test_classes_by_file(folder: Path) -> None:
    release, out = folder / "release.safetensors", folder / "answers.csv"
    labels = ("--label", "kind", "--classes", "high, low", "--delta", 1e-6)
    built = call("build", folder / "labelled.csv", "--out", release, "--epsilon", 10, *labels)
    assert built["kind"] == "PrivateSimilarityClassifier"
    call("query", release, folder / "private.csv", "--out", out)
    names, rows = _read(out)
    assert names == ["class"]
    assert np.mean([row[0] == ("high" if x > 0 else "low") for row, x in zip(rows, X[:, 0], strict=True)]) > 0.8


def test_tables_without_names(tmp_path: Path) -> None:
    _write(tmp_path / "private.csv", None, X.tolist())
    _write(tmp_path / "queries.csv", None, Y.tolist())
    call("build", tmp_path / "private.csv", "--out", tmp_path / "r.safetensors", "--epsilon", 1)
    assert (
        call("query", tmp_path / "r.safetensors", tmp_path / "queries.csv", "--out", tmp_path / "a.csv")["queries"] == 7
    )


def test_no_private_number_is_in_the_files(folder: Path) -> None:
    call("build", folder / "private.csv", "--out", folder / "r.safetensors", "--epsilon", 1)
    written = (folder / "r.safetensors").read_bytes()
    assert not any(value.tobytes() in written or repr(float(value)).encode() in written for value in X.ravel())


@pytest.mark.parametrize(
    "text", ["<0.1,<0.2\n0.5,0.6\n0.7,0.8\n", "1.234,5;2.345,6\n0,5;0,7\n3,5;8,1\n", "NA\n0.5\n0.7\n"]
)
def test_a_private_row_is_never_taken_for_names_nor_shown(folder: Path, text: str) -> None:
    (folder / "rows.csv").write_text(text)
    with pytest.raises(ValueError, match="line 1 could be names or a row"):
        call("build", folder / "rows.csv", "--out", folder / "r.st", "--epsilon", 1)
    assert not [path for path in folder.iterdir() if "r.st" in path.name]
    label = ("--header", "yes", "--label", "kind", "--classes", "x,y")
    with pytest.raises(
        ValueError, match=r"has no column kind: it has \d columns, and some names look like num"
    ) as caught:
        call("build", folder / "rows.csv", "--out", folder / "r.st", "--epsilon", 1, *label)
    assert not any(cell in str(caught.value) for cell in ("0.1", "234", "NA"))


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ("private.csv", ("--epsilon", 0), "epsilon is 0.0"),
        ("private.csv", ("--epsilon", 1, "--metric", "l1"), "--metric needs --low and --high"),
        ("private.csv", ("--epsilon", 1, "--metric", "l1", "--kernel", "cauchy"), "--kernel is of kernels"),
        (
            "private.csv",
            ("--epsilon", 1, "--metric", "l1", "--features", 9, "--bandwidth", 2),
            "--bandwidth, --features is",
        ),
        (
            "private.csv",
            ("--epsilon", 1, "--metric", "l1", *BOUNDS, "--projections", 9),
            "of --metric l2, and the metric",
        ),
        ("private.csv", ("--epsilon", 1, "--metric", "lp", *BOUNDS), "p is None: .* the power"),
        ("private.csv", ("--epsilon", 1, "--p", 2), "--low, --high and --p are of distances"),
        ("private.csv", ("--epsilon", 1, "--metric", "l1", "--low", 0), "give both"),
        ("private.csv", ("--epsilon", 1, "--kernel", "inner"), "--kernel inner is for classes"),
        ("private.csv", ("--epsilon", 1, "--low", 0, "--high", 1), "add --metric"),
        ("labelled.csv", ("--epsilon", 1, "--label", "kind"), "needs --classes"),
        ("labelled.csv", ("--epsilon", 1, "--label", "sort", "--classes", "high,low"), "has no column sort"),
        (
            "labelled.csv",
            ("--epsilon", 1),
            r"line 2, column 2 \(kind\): the cell is no number; write one, or leave the column out",
        ),
        ("short.csv", ("--epsilon", 1), "line 3: 2 cells separated by commas, and the header has 3"),
        ("empty.csv", ("--epsilon", 1), "is empty"),
        ("header.csv", ("--epsilon", 1), "has a header and no rows"),
        ("header.csv", ("--epsilon", 1, "--label", "c", "--classes", "x,y"), "has a header and no rows"),
        ("counted.csv", ("--epsilon", 1), r"line 1 counts up, as pandas names columns.*--header no"),
        ("unnamed.csv", ("--epsilon", 1), "column 1 has no name, as R and pandas write the names of rows"),
        ("twice.csv", ("--epsilon", 1), "columns 1, 3 bear one name, 'a'"),
        ("empty_cell.csv", ("--epsilon", 1), r"line 2, column 2 \(b\): the cell is empty"),
        ("private.csv", ("--epsilon", 1, "--header", "maybe"), "header is 'maybe'"),
        ("private.csv", ("--epsilon", 1, "--classes", "x,y"), "name it with --label"),
        (
            "labelled.csv",
            ("--epsilon", 1, "--label", "kind", "--classes", "x,y"),
            "line 2: the label in column kind is not",
        ),
        ("labels.csv", ("--epsilon", 1, "--label", "kind", "--classes", "x,y"), "a column of labels and no other"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(
    folder: Path, table: str, options: tuple[Any, ...], message: str
) -> None:
    _write(folder / "short.csv", ["a", "b", "c"], [[1, 2, 3], [1, 2]])
    _write(folder / "empty.csv", None, [])
    _write(folder / "header.csv", ["a", "b", "c"], [])
    pd.DataFrame(X).to_csv(folder / "counted.csv", index=False)
    pd.DataFrame(X, columns=["a", "b", "c"]).to_csv(folder / "unnamed.csv")
    _write(folder / "twice.csv", ["a", "b", "a"], [[1, 2, 3]])
    _write(folder / "empty_cell.csv", ["a", "b"], [[1, ""]])
    _write(folder / "labels.csv", ["kind"], [["x"], ["y"]])
    with pytest.raises(ValueError, match=message):
        call("build", folder / table, "--out", folder / "r.safetensors", *options)
    assert not [path for path in folder.iterdir() if "safetensors" in path.name]


@pytest.mark.parametrize("said", ["yes", "no"])
def test_numbers_on_the_first_line_are_what_is_said_they_are(tmp_path: Path, said: str) -> None:
    pd.DataFrame(X).to_csv(tmp_path / "private.csv", index=False)
    release, out = tmp_path / "r.safetensors", tmp_path / "a.csv"
    call("build", tmp_path / "private.csv", "--out", release, "--epsilon", 1e6, "--header", said)
    rows = X if said == "yes" else np.vstack((np.arange(3.0), X))
    fitted = load_private(release)
    assert round(fitted.count_) == len(rows)
    assert list(getattr(fitted, "feature_names_in_", [])) == (["0", "1", "2"] if said == "yes" else [])
    with pytest.raises(ValueError, match="counts up"):
        call("query", release, tmp_path / "private.csv", "--out", out)
    assert not out.exists()
    asked = call("query", release, tmp_path / "private.csv", "--out", out, "--header", said)
    assert (asked["queries"], asked["by_name"]) == (len(rows), said == "yes")


def test_columns_of_the_queries_are_matched_by_name(folder: Path) -> None:
    release, out = folder / "r.safetensors", folder / "a.csv"
    call("build", folder / "private.csv", "--out", release, "--epsilon", 1)
    asked = call("query", release, folder / "labelled.csv", "--out", out)
    assert (asked["by_name"], asked["left_out"], asked["queries"]) == (True, ["kind"], 300)
    more = out.read_text()
    call("query", release, folder / "private.csv", "--out", out, "--force")
    assert out.read_text() == more
    _write(folder / "other.csv", ["a", "x"], [[1, 2]])
    with pytest.raises(ValueError, match=r"other\.csv lacks b, c of the release's columns: it has the columns a, x;"):
        call("query", release, folder / "other.csv", "--out", folder / "b.csv")
    _write(folder / "narrow.csv", None, [[1.5, 2]])
    with pytest.raises(ValueError, match=r"narrow\.csv has 2 columns, and the release was built from 3"):
        call("query", release, folder / "narrow.csv", "--out", folder / "b.csv")
    _write(folder / "header.csv", ["a", "b", "c"], [])
    with pytest.raises(ValueError, match=r"header\.csv has a header and no rows"):
        call("query", release, folder / "header.csv", "--out", folder / "b.csv")
    assert not [path for path in folder.iterdir() if "b.csv" in path.name]


def test_semicolons_and_decimal_commas_are_the_same_table(folder: Path) -> None:
    pd.DataFrame(X, columns=list("abc")).to_csv(folder / "german.csv", sep=";", decimal=",", index=False)
    for name in ("private", "german"):
        call("build", folder / f"{name}.csv", "--out", folder / f"{name}.st", "--epsilon", 1e7, "--features", 16)
        call("query", folder / f"{name}.st", folder / "queries.csv", "--out", folder / f"{name}.out")
    answers = [np.asarray(_read(folder / f"{name}.out")[1], dtype=float)[:, 0] for name in ("private", "german")]
    np.testing.assert_allclose(answers[0], answers[1], atol=0.05)


def test_a_folder_that_cannot_be_written_is_found_before_anything_is_spent(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(*_: Any) -> None:
        raise AssertionError("nothing may be spent")

    monkeypatch.setattr("normkit.estimators.PrivateKernelDensity.fit", fit)
    with pytest.raises(OSError, match="cannot be written"):
        call("build", folder / "private.csv", "--out", folder / "none" / "r.safetensors", "--epsilon", 1)


def test_files_that_are_there_are_kept(folder: Path) -> None:
    release = folder / "r.safetensors"
    call("build", folder / "private.csv", "--out", release, "--epsilon", 1)
    with pytest.raises(FileExistsError, match="is there already"):
        call("build", folder / "private.csv", "--out", release, "--epsilon", 1)
    with pytest.raises(FileExistsError, match="is there already"):
        call("query", release, folder / "queries.csv", "--out", folder / "private.csv")
    with pytest.raises(FileNotFoundError, match=r"nothing\.csv: no such file"):
        call("query", release, folder / "nothing.csv", "--out", folder / "answers.csv")


def test_a_large_delta_is_warned_of(folder: Path) -> None:
    build = ["build", str(folder / "private.csv"), "--epsilon", "1e3", "--force", "--out", str(folder / "r.st")]
    said = " ".join(RUN.invoke(app, [*build, "--delta", "0.01"]).output.split())
    assert "warning: δ is 0.01 for about 300 rows" in said
    assert "δ is 0.01 for about 300 rows" in call(*build, "--delta", 0.01)["warning"]
    assert "warning" not in RUN.invoke(app, [*build, "--delta", "1e-6"]).output
    assert call(*build, "--delta", 1e-6)["warning"] is None


def test_a_large_delta_is_warned_of_though_a_release_of_classes_holds_no_number_of_rows(folder: Path) -> None:
    labels = ("--label", "kind", "--classes", "high,low", "--force")
    build = ("build", folder / "labelled.csv", "--epsilon", 1, "--out", folder / "r.st", *labels)
    for delta, warned in ((0.4, True), (0.001, True), (1e-6, False)):
        assert bool(call(*build, "--delta", delta)["warning"]) is warned
    said = " ".join(RUN.invoke(app, [*map(str, build), "--delta", "0.4"]).output.split())
    assert "warning: δ is 0.4 for 1000 rows (their number is not in the release)" in said


def test_the_names_that_a_release_holds_and_how_the_table_was_read_are_said(folder: Path) -> None:
    release, out = folder / "r.st", folder / "a.csv"
    build = ("build", folder / "labelled.csv", "--epsilon", 1, "--out", release, "--force")
    build += ("--label", "kind", "--classes", "high,low")
    built = call(*build)
    assert built["names"] == ["a", "b", "c"] == list(load_private(release).feature_names_in_)
    assert built["read"] == "4 columns separated by commas, decimal points, names on the first line"
    said = RUN.invoke(app, list(map(str, build))).output
    assert f"read: {built['read']}\nwritten into the release as names of columns: a, b, c\n" in said
    _write(folder / "rows.csv", None, [[1, 5], [2, 5], [3, 7]])
    built = call("build", folder / "rows.csv", "--epsilon", 1, "--out", release, "--force")
    assert (built["names"], built["read"].split(",")[0]) == (None, "2 columns separated by commas")
    said = RUN.invoke(app, ["query", str(release), str(folder / "rows.csv"), "--out", str(out)]).output
    assert "read: 3 rows of 2 columns separated by commas, decimal points, no names" in said


def test_without_opendp_the_way_to_get_it_is_named_and_nothing_is_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opendp", None)
    monkeypatch.setitem(sys.modules, "opendp.prelude", None)
    with pytest.raises(ImportError, match=r'pip install "normkit\[private\]"'):
        call("build", folder / "private.csv", "--out", folder / "r.st", "--epsilon", 1)
    assert not [path for path in folder.iterdir() if "r.st" in path.name]


@pytest.mark.skipif(os.name != "posix", reason="signals and pipes with names are POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_killed_run_leaves_nothing(folder: Path, number: int, code: int) -> None:
    call("build", folder / "private.csv", "--out", folder / "r.st", "--epsilon", 1)
    os.mkfifo(folder / "pipe")
    started = subprocess.Popen(
        [sys.executable, "-m", "normkit", "private", "query", "r.st", "pipe", "--out", "a.csv"],
        cwd=folder,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, map(os.path.abspath, sys.path)))},
        # a child of a background job may inherit an ignored SIGINT
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    with (folder / "pipe").open("w") as pipe:  # opens when the command reads
        pipe.write("a,b,c\n" + "1,2,3\n" * 200)
        pipe.flush()
        until = time.monotonic() + 60
        while not list(folder.glob(".a.csv*")):  # it has begun to write and waits for more
            assert time.monotonic() < until
            assert started.poll() is None
            time.sleep(0.05)
        started.send_signal(number)
        started.communicate(timeout=60)
    assert started.returncode == code
    assert not [path for path in folder.iterdir() if "a.csv" in path.name]


def test_what_people_read(folder: Path) -> None:
    release = folder / "r.safetensors"
    done = RUN.invoke(app, ["build", str(folder / "private.csv"), "--out", str(release), "--epsilon", "1"])
    assert "spent ε = 1, δ = 0" in done.output
    done = RUN.invoke(app, ["query", str(release), str(folder / "queries.csv"), "--out", str(folder / "a.csv")])
    assert "7 answers" in done.output
    assert "error_std  standard deviation of its whole error" in done.output
