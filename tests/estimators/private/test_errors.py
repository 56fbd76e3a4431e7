"""`estimate_error` against errors that are measured over draws of frequencies, directions and noise."""

from functools import partial
from typing import Any

import numpy as np
import pytest

from normkit.estimators import PrivateDistance, PrivateKernelDensity, PrivateSimilarityClassifier, load_private
from normkit.estimators.private.exact import exact_distance_sums, exact_kernel_sums
from normkit.estimators.private.tables import answer_queries, build_release

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


MEANS: dict[str, Any] = {
    "kernel, gaussian noise": partial(PrivateKernelDensity, bandwidth=3.0, delta=1e-5, n_features=64, epsilon=0.5),
    "kernel, laplace noise": partial(PrivateKernelDensity, bandwidth=3.0, n_features=16, epsilon=2.0),
    "kernel, public n": partial(PrivateKernelDensity, n_features=16, epsilon=2.0, neighbours="replace_one"),
    "l1": partial(PrivateDistance, "l1", bounds=(-2.0, 2.0), depth=5, epsilon=1.0),
    "l1, public n": partial(PrivateDistance, "l1", bounds=(-2, 2), depth=5, epsilon=1.0, neighbours="replace_one"),
    "lp": partial(PrivateDistance, "lp", 1.5, bounds=(-2.0, 2.0), depth=5, epsilon=1.0),
    "l2": partial(PrivateDistance, "l2", bounds=(-2.0, 2.0), depth=5, n_projections=8, epsilon=2.0, delta=1e-5),
    "sqeuclidean": partial(PrivateDistance, "sqeuclidean", bounds=4.0, epsilon=0.5),
    "sqeuclidean, public n": partial(PrivateDistance, "sqeuclidean", bounds=4.0, epsilon=1, neighbours="replace_one"),
}


def _mean(fitted: Any) -> Any:
    return fitted.kde(Y) if isinstance(fitted, PrivateKernelDensity) else fitted.mean_distances(Y)


@pytest.mark.parametrize("kind", MEANS)
def test_means_state_their_noise(kind: str) -> None:
    """The count's noise is in it, which for kernels is the larger part, and for distances takes some away."""
    fitted = [MEANS[kind](random_state=0, insecure_seed=seed).fit(INSIDE) for seed in range(200)]
    deviation = np.std([_mean(each) for each in fitted], axis=0)
    stated = np.mean([each.noise_std(Y, mean=True) for each in fitted], axis=0)
    np.testing.assert_allclose(stated, deviation, rtol=0.25)


@pytest.mark.parametrize("kind", ["kernel, gaussian noise", "l2", "sqeuclidean"])
def test_means_state_their_error(kind: str) -> None:
    if kind == "kernel, gaussian noise":
        exact = exact_kernel_sums(INSIDE, Y, "gaussian", 3.0) / len(X)
    else:
        exact = exact_distance_sums(INSIDE, Y, kind) / len(X)
    # the spread of 8 directions is too unsure for three of it to cover 99 %
    options = {"n_projections": 32} if kind == "l2" else {}
    errors, stated = [], []
    for seed in range(2 * DRAWS):
        fitted = MEANS[kind](random_state=seed, insecure_seed=seed, **options).fit(INSIDE)
        errors.append(_mean(fitted) - exact)
        stated.append(fitted.estimate_error(Y, mean=True))
    _judge(errors, stated)


def test_bins_are_in_the_error_of_a_mean() -> None:
    distance = PrivateDistance("l1", bounds=(-2.0, 2.0), depth=3, epsilon=1e9, insecure_seed=0).fit(INSIDE)
    np.testing.assert_allclose(distance.estimate_error(Y, mean=True), 4 * 0.25 / np.sqrt(3), rtol=1e-6)


@pytest.mark.parametrize("similarity", ["inner", "gaussian"])
def test_means_of_classes_state_their_noise(similarity: str) -> None:
    labels = np.where(X[:, 0] > 0, "right", "left")
    options = {"epsilon": 1.0, "delta": 1e-5, "n_features": 16, "classes": ["left", "right"], "random_state": 0}
    fitted = [
        PrivateSimilarityClassifier(similarity, 3.0, weighting="mean", insecure_seed=seed, **options).fit(X, labels)
        for seed in range(200)
    ]
    deviation = np.std([each.similarity_sums(Y) for each in fitted], axis=0)
    noise = np.mean([each.noise_std(Y, mean=True) for each in fitted], axis=0)
    np.testing.assert_allclose(noise, deviation, rtol=0.25)
    if similarity == "inner":
        np.testing.assert_array_equal(fitted[0].estimate_error(Y, mean=True), fitted[0].noise_std(Y, mean=True))
    else:
        assert np.all(np.mean([each.estimate_error(Y, mean=True) for each in fitted], axis=0) > 0.5 * noise)
    sums = PrivateSimilarityClassifier(similarity, insecure_seed=0, **options).fit(X, labels)
    with pytest.raises(ValueError, match="this release has no counts: fit with weighting='mean'"):
        sums.noise_std(Y, mean=True)


@pytest.mark.parametrize("metric", [None, "l1"])
def test_the_answers_of_a_file_state_the_errors_of_means(metric: str | None, tmp_path: Any) -> None:
    np.savetxt(tmp_path / "rows.csv", X, delimiter=",")
    np.savetxt(tmp_path / "queries.csv", Y, delimiter=",")
    options = {"bandwidth": 3.0} if metric is None else {"metric": metric, "bounds": (-2.0, 2.0)}
    release, out = tmp_path / "release.safetensors", tmp_path / "answers.csv"
    build_release(tmp_path / "rows.csv", release, header="no", epsilon=1.0, noise="fast", delta=1e-6, **options)
    answer_queries(release, tmp_path / "queries.csv", out, header="no", mean=True)
    found, fitted = np.loadtxt(out, delimiter=",", skiprows=1), load_private(release)
    np.testing.assert_allclose(found[:, 0], _mean(fitted))
    np.testing.assert_allclose(found[:, 1], fitted.noise_std(Y, mean=True))
    np.testing.assert_allclose(found[:, 2], fitted.estimate_error(Y, mean=True))
