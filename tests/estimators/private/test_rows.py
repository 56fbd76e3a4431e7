"""Sparse rows: the very numbers of the dense ones, in blocks."""

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from normkit.estimators import PrivateKernelDensity, PrivateSimilarityClassifier
from normkit.estimators.private import rows
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
