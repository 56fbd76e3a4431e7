"""`estimate_error` against errors that are measured over draws of frequencies, directions and noise."""

from typing import Any

import numpy as np
import pytest

from normkit.estimators import PrivateDistance, PrivateKernelDensity, PrivateSimilarityClassifier
from normkit.estimators.private.exact import exact_distance_sums, exact_kernel_sums

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(300, 4)), RNG.normal(size=(40, 4))
INSIDE = np.clip(X, -2, 2)
DRAWS = 60


def _judge(errors: list[Any], stated: list[Any]) -> None:
    """Three stated errors cover 99 % of the answers, and their size is that of the errors, to a quarter."""
    error, state = np.asarray(errors), np.asarray(stated)
    assert np.mean(np.abs(error) <= 3 * state) >= 0.99
    assert 0.8 <= np.sqrt(np.mean(error**2) / np.mean(state**2)) <= 1.25


@pytest.mark.parametrize("epsilon", [0.2, 1e5])
@pytest.mark.parametrize("kernel", ["gaussian", "laplacian", "inv_l2"])
def test_sums_of_kernels_state_their_error(kernel: str, epsilon: float) -> None:
    exact, errors, stated = exact_kernel_sums(X, Y, kernel, 3.0), [], []
    options = {"epsilon": epsilon, "delta": 1e-5, "n_features": 128}
    for seed in range(DRAWS):
        density = PrivateKernelDensity(kernel, 3.0, random_state=seed, insecure_seed=seed, **options).fit(X)
        errors.append(density.sum(Y) - exact)
        stated.append(density.estimate_error(Y))
    _judge(errors, stated)
    if epsilon > 1:
        assert density.noise_std(Y)[0] < 0.01 * stated[0].mean(), "what is tested is the sampling of frequencies"


@pytest.mark.parametrize("epsilon", [0.5, 1e5])
def test_sums_of_lengths_state_their_error(epsilon: float) -> None:
    exact, errors, stated = exact_distance_sums(INSIDE, Y, "l2"), [], []
    options = {"bounds": (-2.0, 2.0), "epsilon": epsilon, "delta": 1e-5, "depth": 5, "n_projections": 32}
    for seed in range(DRAWS):
        distance = PrivateDistance("l2", random_state=seed, insecure_seed=seed, **options).fit(INSIDE)
        errors.append(distance.sum_distances(Y) - exact)
        stated.append(distance.estimate_error(Y))
    _judge(errors, stated)


@pytest.mark.parametrize(("metric", "p"), [("l1", None), ("lp", 1.5), ("sqeuclidean", None)])
def test_distances_with_fine_bins_state_their_noise_as_error(metric: str, p: float | None) -> None:
    exact, errors, stated = exact_distance_sums(INSIDE, Y, metric, p), [], []
    for seed in range(DRAWS):
        distance = PrivateDistance(metric, p, bounds=(-2.0, 2.0), epsilon=1.0, depth=9, insecure_seed=seed).fit(INSIDE)
        errors.append(distance.sum_distances(Y) - exact)
        stated.append(distance.estimate_error(Y))
    _judge(errors, stated)


@pytest.mark.parametrize(("metric", "p"), [("l1", None), ("lp", 0.5), ("lp", 3.0)])
def test_bins_never_err_by_more_than_three_stated_errors(metric: str, p: float | None) -> None:
    """All rows at the ends of their bins, coarse bins and next to no noise: as bad as it can be."""
    width, low = 4 / 2**3, -2.0
    for end in (1e-9, width - 1e-9):
        rows = low + np.floor((INSIDE - low) / width).clip(0, 7) * width + end
        distance = PrivateDistance(metric, p, bounds=(-2.0, 2.0), epsilon=1e9, depth=3, insecure_seed=0).fit(rows)
        error = np.abs(distance.sum_distances(Y) - exact_distance_sums(rows, Y, metric, p))
        stated = distance.estimate_error(Y)
        assert np.all(error <= 3 * stated)
        assert error.max() > 0.5 * stated.max(), "the worst case must come near, or too much is stated"


def test_each_class_states_the_error_of_its_sum() -> None:
    labels = np.where(X[:, 0] > 0, "right", "left")
    parts = [X[labels == each] for each in ("left", "right")]
    options = {"epsilon": 1.0, "delta": 1e-5, "n_features": 128, "classes": ["left", "right"]}
    exact, errors, stated = np.column_stack([exact_kernel_sums(part, Y, bandwidth=3.0) for part in parts]), [], []
    for seed in range(DRAWS):
        classifier = PrivateSimilarityClassifier(bandwidth=3.0, random_state=seed, insecure_seed=seed, **options)
        errors.append(classifier.fit(X, labels).similarity_sums(Y) - exact)
        stated.append(classifier.estimate_error(Y))
    _judge(errors, stated)
    inner = PrivateSimilarityClassifier("inner", epsilon=1.0, classes=["left", "right"], insecure_seed=0).fit(X, labels)
    np.testing.assert_array_equal(inner.estimate_error(Y)[:, 1], inner.noise_std(Y))


def test_a_single_frequency_or_direction_tells_nothing_of_its_error() -> None:
    density = PrivateKernelDensity(epsilon=1.0, n_features=1, insecure_seed=0).fit(X)
    distance = PrivateDistance("l2", bounds=2.0, epsilon=1.0, n_projections=1, depth=3, insecure_seed=0).fit(X)
    assert np.all(np.isinf(density.estimate_error(Y)))
    assert np.all(np.isinf(distance.estimate_error(Y)))


def test_the_error_is_that_of_a_mean_over_frequencies() -> None:
    density = PrivateKernelDensity(epsilon=1.0, n_features=20, n_projections=3, random_state=0, insecure_seed=0).fit(X)
    phase = Y @ density.projection_ @ density.frequencies_
    cosine, sine = np.split(density.sums_[0], 2)
    each = np.cos(phase) * cosine + np.sin(phase) * sine
    np.testing.assert_allclose(density.sum(Y), each.mean(axis=1))
    np.testing.assert_allclose(density.estimate_error(Y), each.std(axis=1, ddof=1) / np.sqrt(20), rtol=1e-9)
