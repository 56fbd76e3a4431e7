"""Private similarity against an independent reference: trees, kernels, features and the calibration of noise."""

import numpy as np
import pytest

from normkit.estimators import PrivateDistance, PrivateKernelDensity, gaussian_sigma
from normkit.estimators.private import tree
from normkit.estimators.private.exact import exact_distance_sums, exact_kernel_sums
from normkit.estimators.private.features import KERNELS, fourier_features
from normkit.estimators.private.queries import fourier_answers
from tests.golden.conftest import Golden

RTOL = 1e-9


def test_tree_counts_and_binned_distances(golden: Golden) -> None:
    depth, (low, high) = int(golden["tree_h"]), golden["tree_lo_hi"].tolist()
    counts = tree.tree_counts(tree.bin_index(golden["tree_x"], low, high, depth), depth)
    np.testing.assert_array_equal(counts, golden["tree_counts"])
    leaves = counts[2**depth - 1 :].astype(float)
    centers, y = tree.bin_centers(low, high, depth), golden["tree_y"]
    np.testing.assert_allclose(tree.distance_sums(leaves, centers, y), golden["tree_binned"], rtol=RTOL)
    consistent = tree.distance_sums(tree.consistent_leaves(counts.astype(float)), centers, y)
    np.testing.assert_allclose(consistent, golden["tree_consistent_nonoise"], rtol=RTOL)
    exact = exact_distance_sums(golden["tree_x"][:, None], y[:, None])
    np.testing.assert_allclose(exact, golden["tree_exact"], rtol=RTOL)


def test_consistent_distances_from_noisy_counts(golden: Golden) -> None:
    depth, (low, high) = int(golden["tree_h"]), golden["tree_lo_hi"].tolist()
    noisy = (golden["tree_counts"] + golden["tree_noise"]).astype(float)
    np.testing.assert_allclose(tree.consistent_leaves(noisy), golden["tree_leaf_consistent"], rtol=RTOL, atol=1e-12)
    fitted = _fitted(noisy, depth, low, high)
    found = fitted.sum_distances(golden["tree_y"][:, None])
    np.testing.assert_allclose(found, golden["tree_dist_consistent"], rtol=RTOL)


def test_geometric_distances_from_noisy_counts(golden: Golden) -> None:
    depth, (low, high) = int(golden["tree_h"]), golden["tree_lo_hi"].tolist()
    noisy = (golden["tree_counts"] + golden["tree_noise"]).astype(float)
    fitted = _fitted(noisy, depth, low, high).set_params(query="geometric")
    for alpha, wanted in zip(golden["tree_alpha"], golden["tree_dist_geometric"], strict=True):
        found = fitted.set_params(alpha=float(alpha)).sum_distances(golden["tree_y"][:, None])
        np.testing.assert_allclose(found, wanted, rtol=RTOL)


def _fitted(noisy: np.ndarray, depth: int, low: float, high: float) -> PrivateDistance:
    """An estimator whose release is the given one."""
    fitted = PrivateDistance(bounds=(low, high), epsilon=1.0, depth=depth, insecure_seed=0).fit([[low], [high]])
    assert fitted.nodes_.shape == (1, noisy.size)
    fitted.nodes_ = noisy[None]
    fitted._prepare()
    return fitted


def test_exact_kernel_sums(golden: Golden) -> None:
    named = golden.cases(r"kern_(?!X$|Q$)(\w+)")
    assert set(named) <= set(KERNELS)
    for name in named:
        found = exact_kernel_sums(golden["kern_X"], golden["kern_Q"], name)
        np.testing.assert_allclose(found, golden[f"kern_{name}"], rtol=RTOL)


def test_squared_distances(golden: Golden) -> None:
    exact = exact_distance_sums(golden["kern_X"], golden["kern_Q"], "sqeuclidean")
    np.testing.assert_allclose(exact, golden["sq_l2_query"], rtol=RTOL)
    ball = float(np.linalg.norm(golden["kern_X"], axis=1).max()) + 1.0
    fitted = PrivateDistance("sqeuclidean", bounds=ball, epsilon=1e9, insecure_seed=0).fit(golden["kern_X"])
    np.testing.assert_allclose(fitted.sum_distances(golden["kern_Q"]), golden["sq_l2_query"], rtol=1e-4)


def test_features_and_estimates(golden: Golden) -> None:
    omega, X, Q = golden["rff_omega"], golden["kern_X"], golden["kern_Q"]
    features = fourier_features(X, omega)
    np.testing.assert_allclose(features, golden["rff_features_X"], rtol=RTOL, atol=1e-12)
    sums = features.sum(axis=0)
    np.testing.assert_allclose(sums, golden["rff_sum"], rtol=RTOL, atol=1e-12)
    plain = fourier_answers(Q, omega, sums[None])[:, 0]
    np.testing.assert_allclose(plain, golden["rff_estimate_nonprivate"], rtol=RTOL)
    noised = golden["rff_sum"] + golden["rff_noise"]
    two = fourier_answers(Q, omega, np.stack((noised, sums)))  # several sums at once take another way
    np.testing.assert_allclose(two[:, 0], golden["rff_estimate_noised"], rtol=RTOL)
    density = PrivateKernelDensity(epsilon=1.0, n_features=omega.shape[1], insecure_seed=0).fit(X)
    density.frequencies_, density.sums_ = omega, noised[None]
    np.testing.assert_allclose(density.sum(Q), golden["rff_estimate_noised"], rtol=RTOL)


def test_the_gaussian_mechanism_is_calibrated(golden: Golden) -> None:
    wanted = golden["agm_sigma_over_sens"]
    for i, epsilon in enumerate(golden["agm_eps"]):
        for j, delta in enumerate(golden["agm_delta"]):
            assert gaussian_sigma(float(epsilon), float(delta)) == pytest.approx(wanted[i, j], rel=1e-7)
            assert gaussian_sigma(float(epsilon), float(delta), 3.0) == pytest.approx(3 * wanted[i, j], rel=1e-7)
