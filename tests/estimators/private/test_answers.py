"""Answers of the three estimators: against exact sums, with the error they state, in pandas, files and merges."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from normkit.estimators import (
    PrivacyWarning,
    PrivateDistance,
    PrivateKernelDensity,
    PrivateSimilarityClassifier,
    load_private,
)
from normkit.estimators.private import rows
from normkit.estimators.private.exact import exact_distance_sums, exact_kernel_sums
from normkit.estimators.private.features import KERNELS, feature_sums, fourier_features, rowwise_product

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(400, 4)), RNG.normal(size=(20, 4))
ALMOST_EXACT = 1e7  # an epsilon


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernel_sums_approach_the_exact_ones(kernel: str) -> None:
    density = PrivateKernelDensity(
        kernel, 2.0, epsilon=ALMOST_EXACT, n_features=10_000, random_state=0, insecure_seed=0
    ).fit(X)
    exact = exact_kernel_sums(X, Y, kernel, 2.0)
    assert np.abs(density.sum(Y) - exact).mean() / len(X) < 4 / np.sqrt(2 * 10_000)  # D frequencies sample it
    np.testing.assert_allclose(density.kde(Y), density.sum(Y) / density.count_)
    np.testing.assert_allclose(density.score_samples(Y), np.log(density.kde(Y)))


@pytest.mark.parametrize("relation", ["add_remove", "replace_one"])
@pytest.mark.parametrize(
    ("metric", "p", "tolerance"),
    [("l1", None, 2e-3), ("lp", 2.0, 2e-2), ("lp", 0.5, 5e-3), ("sqeuclidean", None, 1e-5), ("l2", None, 0.12)],
)
def test_distance_sums_approach_the_exact_ones(metric: str, p: float | None, tolerance: float, relation: str) -> None:
    inside = np.clip(X, -2, 2)
    distance = PrivateDistance(
        metric,
        p,
        bounds=([-2.0] * 4, 2.0),
        epsilon=ALMOST_EXACT,
        depth=9,
        n_projections=600,
        neighbours=relation,
        random_state=0,
        insecure_seed=0,
    ).fit(inside)
    exact = exact_distance_sums(inside, Y, metric, p)
    np.testing.assert_allclose(distance.sum_distances(Y), exact, rtol=tolerance)
    np.testing.assert_allclose(distance.mean_distances(Y), exact / len(X), rtol=tolerance)
    assert distance.count_ == pytest.approx(len(X), rel=1e-3)


@pytest.mark.parametrize(("relation", "delta"), [("add_remove", 0.0), ("replace_one", 1e-6)])
@pytest.mark.parametrize("metric", ["l1", "sqeuclidean", "lp", "l2"])
def test_distances_state_their_noise(metric: str, relation: str, delta: float) -> None:
    options = {"bounds": (-2.0, 2.0), "delta": delta, "depth": 4, "neighbours": relation, "n_projections": 3}
    if metric == "lp":
        options["p"] = 3.0
    fits = [PrivateDistance(metric, epsilon=1.0, random_state=0, insecure_seed=s, **options).fit(X) for s in range(120)]
    answers = np.stack([fit.sum_distances(Y[:3]) for fit in fits])
    np.testing.assert_allclose(answers.std(axis=0), fits[0].noise_std(Y[:3]), rtol=0.3)


@pytest.mark.parametrize(("relation", "delta"), [("add_remove", 0.0), ("replace_one", 1e-6)])
def test_kernel_sums_state_their_noise(relation: str, delta: float) -> None:
    options = {"epsilon": 1.0, "delta": delta, "n_features": 8, "neighbours": relation, "random_state": 0}
    fits = [PrivateKernelDensity(insecure_seed=seed, **options).fit(X) for seed in range(200)]
    answers = np.stack([fit.sum(Y[:3]) for fit in fits])
    np.testing.assert_allclose(answers.std(axis=0), fits[0].noise_std(Y[:3]), rtol=0.3)


@pytest.mark.parametrize("similarity", ["gaussian", "inner"])
@pytest.mark.parametrize("weighting", ["sum", "mean"])
def test_classes_are_told_apart(similarity: str, weighting: str) -> None:
    labels = np.where(X[:, 0] > 0, "right", "left")
    classifier = PrivateSimilarityClassifier(
        similarity,
        2.0,
        epsilon=5.0,
        delta=1e-6,
        weighting=weighting,
        classes=["left", "right"],
        n_features=256,
        random_state=0,
        insecure_seed=0,
    ).fit(X, labels)
    assert classifier.score(X, labels) > 0.85
    assert classifier.similarity_sums(Y).shape == (20, 2)
    stated = classifier.noise_std(Y)
    assert stated.shape == (20,)
    assert np.all(stated > 0)


def test_float32_queries_are_answered_in_float32() -> None:
    density = PrivateKernelDensity(epsilon=1.0, random_state=0, insecure_seed=0).fit(X)
    single = density.sum(Y.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, density.sum(Y), rtol=1e-3, atol=1e-2)


def test_blocks_of_queries_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    density = PrivateKernelDensity(epsilon=1.0, n_features=64, n_projections=2, insecure_seed=0).fit(X)
    whole = density.sum(Y)
    monkeypatch.setattr(rows, "_BLOCK", 3 * 64)
    np.testing.assert_allclose(density.sum(Y), whole, rtol=1e-12)


def test_rows_are_summed_the_same_in_any_order_and_company() -> None:
    W = np.random.default_rng(3).standard_cauchy((4, 31))
    product = rowwise_product(X, W)
    for part in (slice(0, 1), slice(5, 8), slice(3, 399)):
        np.testing.assert_array_equal(rowwise_product(X[part], W), product[part])
    # as near to the true product as float64 comes
    lost = np.abs(X) @ np.abs(W) + np.abs(X).max(axis=1, keepdims=True) * np.abs(W).max(axis=0)
    assert np.all(np.abs(product - X @ W) <= 2.0**-50 * lost)
    np.testing.assert_array_equal(feature_sums(X, W), feature_sums(X[::-1].copy(), W))
    W = np.random.default_rng(3).normal(size=(4, 31))
    np.testing.assert_allclose(feature_sums(X, W) / 2**20, fourier_features(X, W).sum(axis=0), atol=1e-3)


@pytest.mark.parametrize("projections", [None, 2])
def test_a_query_beyond_all_numbers_is_similar_to_nothing(projections: int | None) -> None:
    options = {"epsilon": 1.0, "n_projections": projections, "random_state": 0, "insecure_seed": 0}
    density = PrivateKernelDensity(**options).fit(X)
    queries = np.vstack((Y, np.full((1, 4), 1.79e308)))
    found = density.sum(queries)
    assert np.all(np.isfinite(found))
    np.testing.assert_allclose(found[:-1], density.sum(Y), rtol=1e-12)


def test_a_narrow_kernel_answers_single_precision_too() -> None:
    density = PrivateKernelDensity(bandwidth=1e-42, epsilon=1.0, random_state=0, insecure_seed=0).fit(1e-42 * X)
    assert np.all(np.isfinite(density.sum((1e-42 * Y).astype(np.float32))))


@pytest.mark.parametrize("columns", [slice(None), slice(0, 1)], ids=["all columns", "one column"])
def test_data_far_from_zero_are_answered_like_centered_ones(columns: slice) -> None:
    """Seconds since 1970, say: what counts is the difference, nine digits below the numbers themselves."""
    shift = np.zeros(4)
    shift[columns] = 1.7e9
    options = {"bandwidth": 2.0, "epsilon": ALMOST_EXACT, "n_features": 2_000, "random_state": 0, "insecure_seed": 0}
    near, far = (PrivateKernelDensity(**options).fit(X + offset).kde(Y + offset) for offset in (0.0, shift))
    np.testing.assert_allclose(far, near, atol=1e-4)


def test_frames_in() -> None:
    names = list("abcd")
    density = PrivateKernelDensity(epsilon=1.0, random_state=0, insecure_seed=0).fit(pd.DataFrame(X, columns=names))
    np.testing.assert_array_equal(density.feature_names_in_, names)
    plain = PrivateKernelDensity(epsilon=1.0, random_state=0, insecure_seed=0).fit(X)
    np.testing.assert_array_equal(density.sum(pd.DataFrame(Y, columns=names)), plain.sum(Y))
    with pytest.raises(ValueError, match="feature names"):
        density.sum(pd.DataFrame(Y, columns=list("abdc")))
    for kind in FITTED:
        fitted = FITTED[kind](pd.DataFrame(X, columns=names))
        frame = pd.DataFrame(Y, columns=names)
        assert len(_answers(fitted, frame)) == len(fitted.noise_std(frame)) == len(fitted.estimate_error(frame)) == 20


FITTED = {
    "density": lambda X: PrivateKernelDensity("cauchy", epsilon=1, random_state=0, n_projections=3).fit(X),
    "l1": lambda X: PrivateDistance(bounds=(-2, 2), epsilon=1, delta=1e-6, depth=3).fit(X),
    "l2": lambda X: PrivateDistance("l2", bounds=(-2, 2), epsilon=1, depth=3, random_state=0).fit(X),
    "lp": lambda X: PrivateDistance("lp", 1.5, bounds=(-2, 2), epsilon=1, depth=3).fit(X),
    "sqeuclidean": lambda X: PrivateDistance("sqeuclidean", bounds=3, epsilon=1).fit(X),
    "public n": lambda X: PrivateDistance(bounds=(-2, 2), epsilon=1, depth=3, neighbours="replace_one").fit(X),
    "classes": lambda X: PrivateSimilarityClassifier(epsilon=1, classes=[3, 5, 9], random_state=0).fit(
        X, np.where(np.asarray(X)[:, 0] > 0, 3, 9)
    ),
    "means": lambda X: PrivateSimilarityClassifier("inner", epsilon=1, classes=["l", "r"], weighting="mean").fit(
        X, np.where(np.asarray(X)[:, 0] > 0, "l", "r")
    ),
}


def _answers(fitted: Any, queries: Any = Y) -> Any:
    method = next(name for name in ("sum", "sum_distances", "predict") if hasattr(fitted, name))
    return getattr(fitted, method)(queries)


@pytest.mark.parametrize("kind", FITTED)
def test_a_file_answers_like_the_object(kind: str, tmp_path: Any) -> None:
    fitted = FITTED[kind](X)
    fitted.save(tmp_path / "release.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["release.safetensors"]
    again = load_private(tmp_path / "release.safetensors")
    np.testing.assert_array_equal(_answers(again), _answers(fitted))
    np.testing.assert_array_equal(again.noise_std(Y), fitted.noise_std(Y))
    assert again.spend_ == fitted.spend_
    assert again.get_params()["epsilon"] == 1


CHANGES: dict[str, dict[str, Any]] = {
    "density": {"kernel": "gaussian", "bandwidth": 9.0, "n_features": 7, "n_projections": 1, "delta": 1e-3},
    "l1": {"metric": "sqeuclidean", "p": 3.0, "bounds": (0, 1), "depth": 9, "n_projections": 2, "delta": 0.0},
    "l2": {"metric": "l1", "p": 3.0, "bounds": (0, 1), "depth": 9, "n_projections": 2, "delta": 1e-3},
    "lp": {"metric": "l1", "p": 3.0, "bounds": (0, 1), "depth": 9, "n_projections": 2},
    "sqeuclidean": {"metric": "l2", "p": 3.0, "bounds": (0, 1), "depth": 9, "n_projections": 2},
    "public n": {"metric": "lp", "p": 3.0, "neighbours": "add_remove"},
    "classes": {"similarity": "inner", "bandwidth": 9.0, "n_features": 7, "weighting": "mean", "classes": [1, 2]},
    "means": {"similarity": "gaussian", "bandwidth": 9.0, "n_features": 7, "weighting": "sum", "classes": ["x", "y"]},
}


@pytest.mark.parametrize("kind", CHANGES)
def test_parameters_that_are_changed_later_change_no_answer(kind: str, tmp_path: Any) -> None:
    fitted = FITTED[kind](X)
    before = [_answers(fitted), fitted.noise_std(Y), fitted.estimate_error(Y)]
    for options in ({name: value} for name, value in CHANGES[kind].items()):
        fitted.set_params(**options)
        fitted.save(tmp_path / "release.safetensors")
        for each in (fitted, load_private(tmp_path / "release.safetensors")):
            for found, wanted in zip((_answers(each), each.noise_std(Y), each.estimate_error(Y)), before, strict=True):
                np.testing.assert_array_equal(found, wanted)


def test_the_query_may_be_changed_later_and_is_looked_at(tmp_path: Any) -> None:
    fitted = FITTED["l1"](X)
    consistent = fitted.sum_distances(Y)
    fitted.set_params(query="geometric", alpha=0.5)
    fitted.save(tmp_path / "release.safetensors")
    geometric = fitted.sum_distances(Y)
    assert not np.any(geometric == consistent)
    np.testing.assert_array_equal(load_private(tmp_path / "release.safetensors").sum_distances(Y), geometric)
    np.testing.assert_array_equal(fitted.set_params(query="consistent").sum_distances(Y), consistent)
    with pytest.raises(ValueError, match="query is 'exact'"):
        fitted.set_params(query="exact").sum_distances(Y)
    with pytest.raises(ValueError, match="is for metric 'l1', and metric is 'l2'"):
        FITTED["l2"](X).set_params(query="geometric").sum_distances(Y)


def test_a_file_keeps_the_names_of_columns(tmp_path: Any) -> None:
    frame = pd.DataFrame(X, columns=list("abcd"))
    FITTED["density"](frame).save(tmp_path / "release.safetensors")
    again = load_private(tmp_path / "release.safetensors")
    assert list(again.feature_names_in_) == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        again.sum(frame[list("badc")])


def test_a_file_that_is_none_is_named(tmp_path: Any) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_private(tmp_path / "nothing.safetensors")
    (tmp_path / "text").write_text("not a release")
    with pytest.raises(ValueError, match="is no private release"):
        load_private(tmp_path / "text")


def test_a_killed_save_leaves_nothing(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from normkit.estimators.private import files

    fitted = FITTED["density"](X)

    def killed(arrays: Any, path: Any, metadata: Any) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "save_file", killed)
    with pytest.raises(KeyboardInterrupt):
        fitted.save(tmp_path / "release.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["density", "l1", "sqeuclidean", "public n", "means"])
def test_merged_parts_are_the_whole(kind: str) -> None:
    one, two = FITTED[kind](X[:200]), FITTED[kind](X[200:])
    merged = one.merge(two)
    assert merged.noise_variance_ == pytest.approx(2 * one.noise_variance_)
    assert merged.spend_.epsilon == 1
    if kind != "means":
        np.testing.assert_allclose(_answers(merged), _answers(one) + _answers(two), rtol=1e-9)
        assert merged.count_ == pytest.approx(one.count_ + two.count_)
    else:
        np.testing.assert_allclose(merged.counts_, one.counts_ + two.counts_)


def test_parts_with_other_frequencies_do_not_merge() -> None:
    one = FITTED["density"](X)
    two = PrivateKernelDensity("cauchy", epsilon=1, random_state=1, n_projections=3).fit(X)
    with pytest.raises(ValueError, match="the two objects differ in"):
        one.merge(two)
    with pytest.raises(ValueError, match="objects of one class"):
        one.merge(FITTED["l1"](X))


BAD = [
    (PrivateKernelDensity, {"epsilon": 0}, "epsilon is 0: it must be a finite number above 0"),
    (PrivateKernelDensity, {"epsilon": -1.0}, "epsilon is -1.0"),
    (PrivateKernelDensity, {"epsilon": float("inf")}, "epsilon is inf"),
    (PrivateKernelDensity, {"epsilon": None}, "epsilon is None"),
    (PrivateKernelDensity, {"epsilon": 1.0, "delta": 1.0}, "delta is 1.0: it must be a number in"),
    (PrivateKernelDensity, {"epsilon": 1.0, "delta": -0.1}, "delta is -0.1"),
    (PrivateKernelDensity, {"epsilon": 1.0, "delta": 0.1, "mechanism": "laplace"}, "laplace is pure"),
    (PrivateKernelDensity, {"epsilon": 1.0, "mechanism": "gaussian"}, "gaussian is not pure"),
    (PrivateKernelDensity, {"epsilon": 1.0, "mechanism": "cauchy"}, "mechanism is 'cauchy'"),
    (PrivateKernelDensity, {"epsilon": 1.0, "neighbours": "near"}, "neighbours is 'near': it must be 'add_remove'"),
    (PrivateKernelDensity, {"epsilon": 1.0, "noise": "numpy"}, "noise is 'numpy': it must be 'opendp' or 'fast'"),
    (PrivateKernelDensity, {"epsilon": 1.0, "kernel": "box"}, "kernel is 'box': it must be one of 'gaussian'"),
    (PrivateKernelDensity, {"epsilon": 1.0, "bandwidth": 0.0}, "bandwidth is 0.0"),
    (PrivateKernelDensity, {"epsilon": 1.0, "bandwidth": 5e-324}, "bandwidth is 5e-324, and frequencies overflow"),
    (PrivateKernelDensity, {"epsilon": 1.0, "n_features": 0}, "n_features is 0"),
    (PrivateKernelDensity, {"epsilon": 700.0, "delta": 1e-9, "noise": "fast"}, "noise is 'fast', whose error costs"),
    (PrivateKernelDensity, {"epsilon": 60.0, "noise": "fast"}, "noise is 'fast', whose error costs a delta of"),
    (PrivateDistance, {"epsilon": 1e8, "noise": "fast", "bounds": (0, 1)}, "whose error costs a delta of"),
    (PrivateDistance, {"epsilon": 1.0}, "bounds is None: give .low, high."),
    (PrivateDistance, {"epsilon": 1.0, "bounds": "auto"}, "bounds is 'auto': give .low, high."),
    (PrivateDistance, {"epsilon": 1.0, "bounds": (1.0, 1.0)}, "finite numbers with low < high"),
    (PrivateDistance, {"epsilon": 1.0, "bounds": (0.0, float("inf"))}, "finite numbers with low < high"),
    (PrivateDistance, {"epsilon": 1.0, "bounds": (-1.7e308, 1.7e308)}, "high - low must be from 1e-300 to 1e\\+300"),
    (PrivateDistance, {"epsilon": 1.0, "bounds": (0.0, 1e-305)}, "high - low must be from 1e-300 to 1e\\+300"),
    (PrivateDistance, {"epsilon": 1.0, "bounds": 1e-320, "metric": "l2"}, "bounds is 1e-320: give the radius"),
    (PrivateDistance, {"epsilon": 1.0, "bounds": ([0.0, 0.0], 1.0)}, "two lists of 4, one a column"),
    (PrivateDistance, {"epsilon": 1.0, "bounds": 2.0}, "give a pair"),
    (PrivateDistance, {"epsilon": 1.0, "bounds": -2.0, "metric": "l2"}, "give the radius of a ball"),
    (
        PrivateDistance,
        {"epsilon": 1.0, "bounds": (0, 1), "metric": "cosine"},
        "metric is 'cosine': it must be one of",
    ),
    (PrivateDistance, {"epsilon": 1.0, "bounds": (0, 1), "metric": "lp"}, "p is None: it must be the power"),
    (PrivateDistance, {"epsilon": 1.0, "bounds": (0, 1), "depth": 0}, "depth is 0"),
    (PrivateDistance, {"epsilon": 1.0, "bounds": (0, 1), "query": "exact"}, "query is 'exact'"),
    (PrivateDistance, {"epsilon": 1.0, "bounds": (0, 1), "query": "geometric", "metric": "l2"}, "is for metric 'l1'"),
    (PrivateDistance, {"epsilon": 1.0, "bounds": (0, 1), "alpha": 0}, "alpha is 0"),
    (PrivateDistance, {"epsilon": 1.0, "bounds": (0, 1), "n_projections": 0}, "n_projections is 0"),
    (
        PrivateSimilarityClassifier,
        {"epsilon": 1.0, "similarity": "box"},
        "similarity is 'box': it must be one of",
    ),
    (
        PrivateSimilarityClassifier,
        {"epsilon": 1.0, "weighting": "max"},
        "weighting is 'max': it must be 'sum'",
    ),
    (PrivateSimilarityClassifier, {"epsilon": 1.0, "classes": [0, 2]}, "y holds a label that is not among classes"),
]


@pytest.mark.parametrize(("kind", "options", "message"), BAD)
def test_what_makes_no_sense_is_named(kind: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**options).fit(X, np.arange(len(X)) % 2)


def test_classes_read_from_the_labels_are_warned_of() -> None:
    with pytest.warns(PrivacyWarning, match="classes were read from y"):
        PrivateSimilarityClassifier(epsilon=1.0).fit(X, np.arange(len(X)) % 2)


def test_the_geometric_query_states_no_noise() -> None:
    distance = PrivateDistance(bounds=(-2, 2), epsilon=1.0, depth=3, query="geometric").fit(X)
    for asked in ("noise_std", "estimate_error"):
        with pytest.raises(ValueError, match=f"{asked} is for query='consistent'"):
            getattr(distance, asked)(Y)


def test_a_missing_extra_is_named_before_anything_is_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from normkit.estimators import PrivacyBudget
    from normkit.extras import MissingExtraError

    monkeypatch.setitem(sys.modules, "opendp.prelude", None)
    budget = PrivacyBudget(1.0)
    with pytest.raises(MissingExtraError, match=r'pip install "normkit\[private\]"'):
        PrivateKernelDensity(epsilon=1.0, budget=budget).fit(X)
    assert budget.spends == ()
