"""Sparse rows: the very numbers of the dense ones, in blocks."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from normkit.estimators import PrivateDistance, PrivateKernelDensity, PrivateSimilarityClassifier
from normkit.estimators.private import classifier as classifier_module
from normkit.estimators.private import features, rows
from normkit.estimators.private.rows import row_blocks

RNG = np.random.default_rng(0)
DENSE = RNG.normal(size=(60, 30)) * (RNG.random((60, 30)) < 0.2)
LABELS = np.arange(60) % 3
CONTAINERS = [sparse.csr_array, sparse.csr_matrix, sparse.csc_array]


def test_blocks_cover_every_row_once_and_are_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_BLOCK", 70)
    for table, width, size in [(DENSE, 35, 2), (DENSE, 10, 2), (sparse.csr_array(DENSE), 71, 1)]:
        blocks = list(row_blocks(table, width))
        assert {len(block) for _, block in blocks} == {size}
        np.testing.assert_array_equal(np.concatenate([block for _, block in blocks]), DENSE)
        np.testing.assert_array_equal(np.concatenate([DENSE[place] for place, _ in blocks]), DENSE)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("n_projections", [None, 5])
def test_a_sparse_density_is_the_dense_one(container: Any, n_projections: int | None) -> None:
    options = {"epsilon": 1.0, "n_features": 8, "n_projections": n_projections, "random_state": 0, "insecure_seed": 0}
    dense, lean = (PrivateKernelDensity(**options).fit(table) for table in (DENSE, container(DENSE)))
    np.testing.assert_array_equal(lean.sums_, dense.sums_)
    np.testing.assert_allclose(lean.sum(container(DENSE)), dense.sum(DENSE), rtol=1e-12)
    np.testing.assert_array_equal(lean.noise_std(container(DENSE)), dense.noise_std(DENSE))


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("similarity", ["gaussian", "inner"])
def test_a_sparse_classifier_is_the_dense_one(container: Any, similarity: str) -> None:
    options = {"epsilon": 1.0, "n_features": 8, "classes": [0, 1, 2], "random_state": 0, "insecure_seed": 0}
    dense, lean = (
        PrivateSimilarityClassifier(similarity, **options).fit(table, LABELS) for table in (DENSE, container(DENSE))
    )
    np.testing.assert_array_equal(lean.sums_, dense.sums_)
    np.testing.assert_allclose(lean.similarity_sums(container(DENSE)), dense.similarity_sums(DENSE), rtol=1e-12)
    np.testing.assert_allclose(lean.noise_std(container(DENSE)), dense.noise_std(DENSE), rtol=1e-12)
    np.testing.assert_array_equal(lean.predict(container(DENSE)), dense.predict(DENSE))


# the first row gives a cell in two entries whose sum is beyond float64, the second in four that go up and down
DOUBLED = sparse.csr_array(
    (
        np.array([1.7e308, 1.7e308, 0.5, 1.7e308, 1.7e308, -1.7e308, -1.7e308, 0.2]),
        [0, 0, 0, 1, 1, 1, 1, 1],
        [0, 3, 7, 8],
    )
)


@pytest.mark.parametrize("similarity", ["gaussian", "inner"])
def test_a_cell_given_twice_moves_its_own_class_by_one_row_at_most(similarity: str) -> None:
    options = {"epsilon": 1e9, "n_features": 8, "classes": [0, 1, 2], "random_state": 0, "insecure_seed": 0}
    classifier = PrivateSimilarityClassifier(similarity, **options).fit(DOUBLED, [0, 1, 2])
    one_row = 1.0 if similarity == "inner" else np.sqrt(8)
    assert np.all(np.linalg.norm(classifier.sums_, axis=1) <= one_row * (1 + 1e-5))
    np.testing.assert_allclose(
        classifier.sums_[2],
        PrivateSimilarityClassifier(similarity, **options)
        .fit(sparse.csr_array([[0.1, 0.0], [0.1, 0.0], [0.0, 0.2]]), [0, 1, 2])
        .sums_[2],
        atol=1e-5,
    )
    assert np.all(np.isfinite(classifier.similarity_sums(DOUBLED)))
    assert np.all(np.isfinite(classifier.noise_std(DOUBLED)))


@pytest.mark.parametrize(
    "estimator",
    [
        partial(PrivateKernelDensity, epsilon=1.0, n_features=8),
        partial(PrivateKernelDensity, epsilon=1.0, n_features=8, n_projections=2),
        partial(PrivateSimilarityClassifier, "inner", epsilon=1.0, classes=[0, 1]),
        partial(PrivateDistance, "l1", bounds=(-1e-3, 1e-3), epsilon=1.0, depth=3),
        partial(PrivateDistance, "l1", bounds=(0.0, 1e90), epsilon=1.0, depth=3),
        partial(PrivateDistance, "l2", bounds=1e90, epsilon=1.0, depth=3),
        partial(PrivateDistance, "sqeuclidean", bounds=1.0, epsilon=1.0),
        partial(PrivateDistance, "sqeuclidean", bounds=1e90, epsilon=1.0),
    ],
)
@pytest.mark.parametrize("row", [[5e-324, 1e-310], [1e-200, 1.0], [1e-300, 1e-5], [1.79e308, -1.79e308], [0.1, 1e300]])
def test_no_row_can_raise_by_the_settings_of_numpy(estimator: Any, row: list[float]) -> None:
    with np.errstate(all="raise"):
        estimator().fit(np.array([[0.5, 0.5], row]), [0, 1])


def test_blocks_are_as_short_as_many_classes_want(monkeypatch: pytest.MonkeyPatch) -> None:
    widths = []

    def noted(X: Any, width: int) -> Any:
        widths.append(max(width, X.shape[1]))
        return row_blocks(X, width)

    monkeypatch.setattr(classifier_module, "row_blocks", noted)
    PrivateSimilarityClassifier("inner", epsilon=1.0, classes=range(500)).fit(DENSE, LABELS)
    assert widths == [500]


@pytest.mark.parametrize("n_projections", [None, 5])
def test_frequencies_are_cut_once_for_all_blocks(n_projections: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_BLOCK", 60)
    cut, split = [], features._split_columns
    monkeypatch.setattr(features, "_split_columns", lambda W: cut.append(W.shape) or split(W))
    PrivateKernelDensity(epsilon=1.0, n_features=8, n_projections=n_projections).fit(sparse.csr_array(DENSE))
    assert cut == ([(30, 8)] if n_projections is None else [(30, 5), (5, 8)])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_long_query_is_scaled_down_as_rows_are(dtype: Any) -> None:
    options = {"epsilon": 1e9, "classes": [0, 1], "insecure_seed": 0}
    classifier = PrivateSimilarityClassifier("inner", **options).fit([[1e200, 0.0], [0.0, 1e200]], [0, 1])
    largest = np.finfo(dtype).max
    queries = np.array([[largest, 0.0], [0.0, -largest], [0.3, 0.4], [3.0, 4.0]], dtype=dtype)
    found = classifier.similarity_sums(queries)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, [[1, 0], [0, -1], [0.3, 0.4], [0.6, 0.8]], atol=1e-5)
    np.testing.assert_allclose(classifier.noise_std(queries), np.array([1, 1, 0.5, 1]) * classifier.noise_std([[2, 0]]))
