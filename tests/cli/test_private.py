"""`normkit private build|query` on tables of one's own; what is wrong is one line and spends nothing."""

import csv
import json
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
    assert names == ["sum", "noise_std"]
    found = np.asarray(rows, dtype=float)
    np.testing.assert_allclose(found[:, 0], exact_kernel_sums(X, Y, bandwidth=2.0), rtol=0.05)
    np.testing.assert_allclose(found[:, 1], load_private(release).noise_std(pd.DataFrame(Y, columns=list("abc"))))
    call("query", release, folder / "queries.csv", "--out", out, "--mean", "--force")
    np.testing.assert_allclose(np.asarray(_read(out)[1], dtype=float)[:, 0], found[:, 0] / 300, rtol=1e-3)


def test_distances_by_file(folder: Path) -> None:
    release, out = folder / "release.safetensors", folder / "answers.csv"
    bounds = ("--metric", "sqeuclidean", "--low", -1, "--high", 1)
    call("build", folder / "private.csv", "--out", release, "--epsilon", 1e6, *bounds)
    call("query", release, folder / "queries.csv", "--out", out)
    found = np.asarray(_read(out)[1], dtype=float)[:, 0]
    np.testing.assert_allclose(found, exact_distance_sums(X, Y, "sqeuclidean"), rtol=1e-3)


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
    ("table", "options", "message"),
    [
        ("private.csv", ("--epsilon", 0), "epsilon is 0.0"),
        ("private.csv", ("--epsilon", 1, "--metric", "l1"), "bounds is None"),
        ("private.csv", ("--epsilon", 1, "--metric", "l1", "--kernel", "cauchy"), "leave --kernel and --label out"),
        ("private.csv", ("--epsilon", 1, "--kernel", "inner"), "--kernel inner is for classes"),
        ("labelled.csv", ("--epsilon", 1, "--label", "kind"), "needs --classes"),
        ("labelled.csv", ("--epsilon", 1, "--label", "sort", "--classes", "high,low"), "has no column sort"),
        ("labelled.csv", ("--epsilon", 1), "line 2, column 2 is no number"),
        ("short.csv", ("--epsilon", 1), "line 3 has 2 numbers, and the first has 3"),
        ("empty.csv", ("--epsilon", 1), "is empty"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(
    folder: Path, table: str, options: tuple[Any, ...], message: str
) -> None:
    _write(folder / "short.csv", ["a", "b", "c"], [[1, 2, 3], [1, 2]])
    _write(folder / "empty.csv", None, [])
    with pytest.raises(ValueError, match=message):
        call("build", folder / table, "--out", folder / "r.safetensors", *options)
    assert not (folder / "r.safetensors").exists()


def test_files_that_are_there_are_kept(folder: Path) -> None:
    release = folder / "r.safetensors"
    call("build", folder / "private.csv", "--out", release, "--epsilon", 1)
    with pytest.raises(FileExistsError, match="is there already"):
        call("build", folder / "private.csv", "--out", release, "--epsilon", 1)
    with pytest.raises(FileExistsError, match="is there already"):
        call("query", release, folder / "queries.csv", "--out", folder / "private.csv")
    with pytest.raises(FileNotFoundError, match="there is no table"):
        call("query", release, folder / "nothing.csv", "--out", folder / "answers.csv")


def test_what_people_read(folder: Path) -> None:
    release = folder / "r.safetensors"
    done = RUN.invoke(app, ["build", str(folder / "private.csv"), "--out", str(release), "--epsilon", "1"])
    assert "spent ε = 1, δ = 0" in done.output
    done = RUN.invoke(app, ["query", str(release), str(folder / "queries.csv"), "--out", str(folder / "a.csv")])
    assert "7 answers" in done.output
