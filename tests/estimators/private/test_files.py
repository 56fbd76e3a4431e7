"""Files of releases that were cut, edited or written by another program: one ValueError that names the file."""

import json
import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from normkit.estimators import PrivateDistance, PrivateKernelDensity, PrivateSimilarityClassifier, load_private

X = np.random.default_rng(0).normal(size=(30, 3))
LABELS = np.where(X[:, 0] > 0, "l", "r")
TREE = {"bounds": (-2.0, 2.0), "epsilon": 1.0, "depth": 2}
SMALL = {"epsilon": 1.0, "n_features": 2, "random_state": 0}

RELEASES = {
    "density": PrivateKernelDensity(**SMALL, n_projections=2),
    "l1": PrivateDistance(**TREE),
    "public n": PrivateDistance(**TREE, neighbours="replace_one"),
    "lp": PrivateDistance("lp", 1.5, **TREE, delta=1e-5),
    "l2": PrivateDistance("l2", n_projections=2, **TREE),
    "sqeuclidean": PrivateDistance("sqeuclidean", **{**TREE, "bounds": 3.0}),
    "classes": PrivateSimilarityClassifier(**SMALL, classes=["l", "r"]),
    "means": PrivateSimilarityClassifier("inner", epsilon=1.0, classes=["l", "r"], weighting="mean"),
}

WRONG = ("x", None, float("nan"), True, [[1]])


@pytest.fixture(params=RELEASES)
def file(request: Any, tmp_path: Path) -> Path:
    path = tmp_path / "release.safetensors"
    with warnings.catch_warnings():
        estimator = RELEASES[request.param]
        type(estimator)(**estimator.get_params()).fit(X, LABELS).save(path)
    return path


def _refused(path: Path) -> None:
    with pytest.raises(ValueError, match=r"release\.safetensors is no private release of normkit, or a damaged one"):
        load_private(path)


def _opened(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    with safe_open(path, framework="numpy") as opened:
        arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        return json.loads(opened.metadata()["normkit.private"]), arrays


def _write(path: Path, described: Any, arrays: dict[str, Any]) -> None:
    save_file(arrays, path, metadata={"normkit.private": json.dumps(described)})


def _places(described: Any) -> Iterator[list[str]]:
    if isinstance(described, dict):
        for key, value in described.items():
            yield [key]
            yield from ([key, *rest] for rest in _places(value))


def _edited(described: Any, place: list[str], *value: Any) -> Any:
    """A copy with another value at a place, or without it."""
    copy = json.loads(json.dumps(described))
    inner = copy
    for key in place[:-1]:
        inner = inner[key]
    if value:
        inner[place[-1]] = value[0]
    else:
        del inner[place[-1]]
    return copy


def test_a_file_that_was_cut_is_refused(file: Path) -> None:
    whole = file.read_bytes()
    for length in range(0, len(whole), 61):
        file.write_bytes(whole[:length])
        _refused(file)


def test_every_part_of_the_description_is_needed(file: Path) -> None:
    described, arrays = _opened(file)
    for place in _places(described):
        _write(file, _edited(described, place), arrays)
        _refused(file)
    for other in ([], "x", 3, None, {}):
        _write(file, other, arrays)
        _refused(file)


def test_no_part_of_what_was_released_may_be_of_another_kind(file: Path) -> None:
    described, arrays = _opened(file)
    for place in _places(described):
        here = described
        for key in place:
            here = here[key]
        if place[0] == "parameters" and len(place) > 1 and place[1] not in ("query", "alpha"):
            continue  # what is not asked again after the fit
        for wrong in WRONG:
            if type(wrong) is not type(here) or wrong != here:
                _write(file, _edited(described, place, wrong), arrays)
                _refused(file)


def test_every_array_is_needed_in_its_shape_and_type(file: Path) -> None:
    described, arrays = _opened(file)
    for name, array in arrays.items():
        others = {key: value for key, value in arrays.items() if key != name}
        _write(file, described, others)
        _refused(file)
        unfinished = array.copy()
        unfinished.flat[0] = np.nan
        for wrong in (
            array.astype(np.float32),
            array.astype(np.int64),
            unfinished,
            array.ravel()[:-1].copy(),
            array[..., None].copy(),
            array[:0].copy(),
            np.array(1.0),
        ):
            _write(file, described, {**others, name: wrong})
            _refused(file)
    _write(file, described, {**arrays, "more_": np.zeros(2)})
    _refused(file)
    save_file(arrays, file)
    _refused(file)


@pytest.mark.parametrize(
    "options",
    [
        {"epsilon": Fraction(1, 2)},
        {"epsilon": np.longdouble(1)},
        {"bounds": (pd.Series([-2.0, -2.0, -1.0]), pd.Series([2.0, 2.0, 2.0]))},
        {"bounds": np.array([[-2.0] * 3, [2.0] * 3], dtype=np.longdouble)},
        {"bounds": (range(3), np.float32(3))},
        {"metric": "lp", "p": Fraction(3, 2), "depth": np.int64(2)},
        {"metric": "sqeuclidean", "bounds": Fraction(7, 2)},
        {"query": "geometric", "alpha": Fraction(1, 2)},
    ],
)
def test_whatever_number_was_taken_can_be_saved(options: dict[str, Any], tmp_path: Path) -> None:
    fitted = PrivateDistance(**{**TREE, **options}).fit(X)
    fitted.save(tmp_path / "release.safetensors")
    again = load_private(tmp_path / "release.safetensors")
    np.testing.assert_array_equal(again.sum_distances(X), fitted.sum_distances(X))
    assert again.epsilon == fitted.epsilon


def test_the_message_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "release.safetensors"
    PrivateDistance(**TREE).fit(X).save(path)
    described, arrays = _opened(path)
    for edited, changed, said in (
        (_edited(described, ["spend"]), arrays, "'spend' is missing"),
        (_edited(described, ["spend", "rho"]), arrays, "the spend differ by rho"),
        (_edited(described, ["spend", "releases"], ["a", "a"]), arrays, "a name for each of 1 parts is wanted"),
        (described, {**arrays, "nodes_": arrays["nodes_"][:2].copy()}, r"nodes has shape \(2, 7\), and \(3, 7\)"),
        (_edited(described, ["n_features_in"], 2), arrays, r"ranges has shape \(3, 2\), and \(2, 2\) is wanted"),
    ):
        _write(path, edited, changed)
        with pytest.raises(ValueError, match=said):
            load_private(path)
    _write(path, _edited(described, ["format"], 99), arrays)
    with pytest.raises(ValueError, match=r"is of a later normkit .format 99.: update normkit"):
        load_private(path)
