"""Trees of counts: what least squares gives, against a dense solve; queries against the leaves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from normkit.estimators.private import tree


def _design(depth: int) -> np.ndarray:
    """Each node's count as a sum of leaves."""
    return np.concatenate([np.kron(np.eye(2**level), np.ones(2 ** (depth - level))) for level in range(depth + 1)])


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_consistent_leaves_are_least_squares(depth: int) -> None:
    noisy = np.random.default_rng(depth).normal(size=(3, 2 ** (depth + 1) - 1))
    for row, found in zip(noisy, tree.consistent_leaves(noisy), strict=True):
        np.testing.assert_allclose(found, np.linalg.lstsq(_design(depth), row)[0], atol=1e-10)


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_consistent_leaves_keep_a_known_total(depth: int) -> None:
    rng = np.random.default_rng(depth)
    noisy, total = rng.normal(size=2 ** (depth + 1) - 1), 7.0
    found = tree.consistent_leaves(noisy, total)
    assert found.sum() == pytest.approx(total)
    design, leaves = _design(depth)[1:], 2**depth
    free = np.concatenate((np.eye(leaves - 1), -np.ones((1, leaves - 1))))  # leaves with sum 0
    start = np.full(leaves, total / leaves)
    wanted = start + free @ np.linalg.lstsq(design @ free, noisy[1:] - design @ start)[0]
    np.testing.assert_allclose(found, wanted, atol=1e-10)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("depth", [1, 3, 4])
def test_leaf_variance_is_that_of_least_squares(depth: int, known: bool) -> None:
    design, leaves = _design(depth), 2**depth
    if known:
        free = np.concatenate((np.eye(leaves - 1), -np.ones((1, leaves - 1))))
        covariance = free @ np.linalg.inv(free.T @ design[1:].T @ design[1:] @ free) @ free.T
    else:
        covariance = np.linalg.inv(design.T @ design)
    weights = np.random.default_rng(0).normal(size=(4, leaves))
    wanted = np.einsum("qi,ij,qj->q", weights, covariance, weights)
    np.testing.assert_allclose(tree.leaf_variance(weights, known), wanted, rtol=1e-10)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 5, 12])
def test_the_variance_of_a_distance_needs_the_path_of_its_query_alone(depth: int, known: bool) -> None:
    rng = np.random.default_rng(depth)
    for low, high in ((-2.0, 3.0), (0.0, 1e-9), (-1e6, 1e6)):
        centers, width = tree.bin_centers(low, high, depth), high - low
        y = np.concatenate(
            (
                rng.uniform(low - width, high + width, 50),
                centers[:3],
                low + width * np.arange(8) / 8,
                [high, low - 100 * width, high + 100 * width],
            )
        )
        wanted = tree.leaf_variance(np.abs(centers - y[:, None]), known)
        found = tree.distance_variance(y, low, high, depth, known)
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-25 * width**2)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(0, 10_000))
def test_queries_are_sums_over_leaves(depth: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    low, high = -2.0, 3.0
    centers = tree.bin_centers(low, high, depth)
    leaves = rng.normal(size=len(centers))
    y = np.concatenate((rng.uniform(-4, 5, 8), centers[:2], [low, high]))
    wanted = np.abs(centers - y[:, None]) @ leaves
    np.testing.assert_allclose(tree.distance_sums(leaves, centers, y), wanted, atol=1e-9)


def test_every_value_falls_into_its_bin() -> None:
    depth, low, high = 3, -1.0, 3.0
    index = tree.bin_index(np.array([-9.0, -1.0, -0.5001, -0.5, 2.999, 3.0, 50.0]), low, high, depth)
    np.testing.assert_array_equal(index, [0, 0, 0, 1, 7, 7, 7])
    counts = tree.tree_counts(index, depth)
    np.testing.assert_array_equal(counts, [7, 4, 3, 4, 0, 0, 3, 3, 1, 0, 0, 0, 0, 0, 3])


@pytest.mark.parametrize("alpha", [0.05, 0.5])
def test_the_geometric_query_errs_by_its_alpha(alpha: float) -> None:
    rng = np.random.default_rng(0)
    index = tree.bin_index(rng.beta(2, 5, 5000), 0.0, 1.0, 10)
    counts = tree.tree_counts(index, 10).astype(float)
    y = np.array([-0.5, 0.0, 0.2, 0.77, 1.0, 1.4])
    exact = tree.distance_sums(counts[2**10 - 1 :], tree.bin_centers(0.0, 1.0, 10), y)
    found = tree.geometric_sums(counts, 0.0, 1.0, alpha, y)
    assert np.all(np.abs(found / exact - 1) <= alpha)
    assert np.any(found != exact)
