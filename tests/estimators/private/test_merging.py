"""Releases of two parts as one: what must agree, what adds up, and what is spent."""

import copy
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest

from normkit.estimators import (
    PrivacyBudget,
    PrivacyBudgetError,
    PrivateDistance,
    PrivateKernelDensity,
    PrivateSimilarityClassifier,
    load_private,
)

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(60, 3)), RNG.normal(size=(5, 3))
LABELS = np.array(["a", "b", "c"])[np.arange(60) % 3]


def _density(X: Any = X, **options: Any) -> Any:
    return PrivateKernelDensity(**{"epsilon": 1.0, "n_features": 5, "random_state": 0, **options}).fit(X)


def _projected(X: Any = X, **options: Any) -> Any:
    return _density(X, **{"n_projections": 2, **options})


def _tree(X: Any = X, **options: Any) -> Any:
    return PrivateDistance(**{"bounds": (-2.0, 2.0), "epsilon": 1.0, "depth": 3, **options}).fit(X)


def _moments(X: Any = X, **options: Any) -> Any:
    return _tree(X, **{"metric": "sqeuclidean", "bounds": 3.0, **options})


def _directions(X: Any = X, **options: Any) -> Any:
    return _tree(X, **{"metric": "l2", "n_projections": 3, "random_state": 0, **options})


def _classes(X: Any = X, **options: Any) -> Any:
    options = {"epsilon": 1.0, "n_features": 5, "classes": ["a", "b", "c"], "random_state": 0, **options}
    return PrivateSimilarityClassifier(**options).fit(X, LABELS[: len(X)])


def _inner(X: Any = X, **options: Any) -> Any:
    return _classes(X, similarity="inner", **options)


DIFFERENT = [
    (_density, {"neighbours": "replace_one"}, r"neighbours \('add_remove' and 'replace_one'\)"),
    (_density, {"insecure_seed": 0}, r"privacy \('private' and 'not private'\)"),
    (_density, {"delta": 1e-6}, r"mechanism \('laplace' and 'gaussian'\)"),
    (_density, {"kernel": "cauchy"}, r"kernel \('gaussian' and 'cauchy'\)"),
    (_density, {"bandwidth": 2.0}, r"bandwidth \(1.0 and 2.0\)"),
    (_density, {"n_features": 6}, r"n_features \(5 and 6\)"),
    (_density, {"random_state": 1}, "frequencies_"),
    (_projected, {"n_projections": 3}, r"n_projections \(2 and 3\)"),
    (_projected, {"n_projections": None}, r"n_projections \(2 and None\)"),
    (_tree, {"depth": 4}, r"number of trees and nodes \(\(3, 15\) and \(3, 31\)\)"),
    (_tree, {"bounds": (-2.0, 3.0)}, "bounds"),
    (_tree, {"metric": "lp", "p": 1.5}, r"metric \('l1' and 'lp'\), p \(None and 1.5\)"),
    (_tree, {"query": "geometric"}, r"query \('consistent' and 'geometric'\)"),
    (_moments, {"bounds": 4.0}, r"radius \(3.0 and 4.0\)"),
    (_moments, {"bounds": (-1.0, 2.0)}, "center"),
    (_directions, {"n_projections": 4}, r"number of trees"),
    (_directions, {"random_state": 1}, "directions_"),
    (_classes, {"similarity": "laplacian"}, r"similarity \('gaussian' and 'laplacian'\)"),
    (_classes, {"similarity": "inner"}, r"similarity .*bandwidth \(1.0 and None\), n_features \(5 and None\)"),
    (_classes, {"weighting": "mean"}, r"weighting \('sum' and 'mean'\)"),
    (_classes, {"classes": ["a", "b", "c", "d"]}, r"classes \(\['a', 'b', 'c'\] and \['a', 'b', 'c', 'd'\]\)"),
    (_inner, {"classes": ["a", "b", "d", "c"]}, "classes"),
]


@pytest.mark.parametrize(("make", "other", "named"), DIFFERENT)
def test_what_differs_is_named(make: Any, other: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=f"the two objects differ in .*{named}.*: release both parts with the same"):
        make().merge(make(**other))


def test_other_columns_do_not_merge() -> None:
    with pytest.raises(ValueError, match=r"number of columns \(3 and 2\)"):
        _inner().merge(_inner(X[:, :2]))
    first, second = (pd.DataFrame(X, columns=list(names)) for names in ("abc", "acb"))
    with pytest.raises(ValueError, match=r"feature names \(\['a', 'b', 'c'\] and \['a', 'c', 'b'\]\)"):
        _density(first).merge(_density(second))
    for one, two in ((first, X), (X, first)):
        merged = _density(one).merge(_density(two))
        assert list(merged.feature_names_in_) == ["a", "b", "c"]


def test_one_object_and_other_kinds_do_not_merge() -> None:
    one = _density()
    with pytest.raises(ValueError, match="the same object twice"):
        one.merge(one)
    for other in (_tree(), None, 3):
        with pytest.raises(ValueError, match="two objects of one class, got PrivateKernelDensity and"):
            one.merge(other)


def test_one_release_is_not_added_twice(tmp_path: Any) -> None:
    """Neither by itself nor as a copy or a part of a merged one: its noise would not be independent of its own."""
    one, two, three = (_density(X[at : at + 20]) for at in (0, 20, 40))
    one.save(tmp_path / "one.safetensors")
    one.merge(two).save(tmp_path / "both.safetensors")
    both = load_private(tmp_path / "both.safetensors")
    for first, second in (
        (one.merge(two), one),
        (one, two.merge(one)),
        (one.merge(two), two.merge(three)),
        (one, load_private(tmp_path / "one.safetensors")),
        (one, copy.deepcopy(one)),
        (one, pickle.loads(pickle.dumps(one))),
        (both, two),
    ):
        with pytest.raises(ValueError, match="merge got one release twice"):
            first.merge(second)
    assert both.merge(three).spend_.parts == 3


def test_equal_numbers_of_two_types_are_equal() -> None:
    options = {"query": "geometric", "n_projections": 2}
    merged = _tree(alpha=0.5, **options).merge(_tree(alpha=np.float64(0.5), **options))
    assert merged.spend_.parts == 2


@pytest.mark.parametrize("make", [_density, _projected, _tree, _moments, _directions, _classes, _inner])
@pytest.mark.parametrize("delta", [(0.0, 0.0), (1e-6, 1e-5)])
@pytest.mark.parametrize("relation", ["add_remove", "replace_one"])
def test_budgets_are_the_larger_and_variances_add(make: Any, delta: tuple[float, float], relation: str) -> None:
    one = make(X[:40], neighbours=relation, epsilon=2.0, delta=delta[0])
    two = make(X[40:], neighbours=relation, epsilon=0.5, delta=delta[1])
    merged = one.merge(two)
    spend = merged.spend_
    assert (spend.epsilon, spend.delta) == (2.0, max(delta)) == (merged.epsilon, merged.delta)
    assert spend.rho == max(one.spend_.rho, two.spend_.rho)
    assert spend.sensitivity == pytest.approx(one.spend_.sensitivity)
    assert (spend.mechanism, spend.relation, spend.source, spend.parts) == (one.spend_.mechanism, relation, "opendp", 2)
    assert merged.noise_variance_ == one.noise_variance_ + two.noise_variance_
    if max(delta) > 0:
        assert merged.noise_variance_ == pytest.approx(spend.scale**2)
    np.testing.assert_allclose(merged.noise_std(Y) ** 2, one.noise_std(Y) ** 2 + two.noise_std(Y) ** 2)
    again = merged.merge(make(X[:20], neighbours=relation, epsilon=1.0, delta=delta[0]))
    assert again.spend_.parts == 3


def test_merged_noise_has_the_stated_deviation() -> None:
    exact = _density(epsilon=1e6, insecure_seed=0).sums_
    sums = [
        _density(X[:40], insecure_seed=2 * s, epsilon=1.0)
        .merge(_density(X[40:], insecure_seed=2 * s + 1, epsilon=3.0))
        .sums_
        - exact
        for s in range(150)
    ]
    merged = _density(X[:40], insecure_seed=0).merge(_density(X[40:], insecure_seed=1, epsilon=3.0))
    assert np.std(sums) == pytest.approx(np.sqrt(merged.noise_variance_), rel=0.1)


def test_what_is_merged_has_released(tmp_path: Any) -> None:
    budget = PrivacyBudget(1.0)
    merged = _density(X[:40], budget=budget).merge(_density(X[40:], epsilon=0.5))
    assert merged.budget is None
    with pytest.raises(PrivacyBudgetError, match="has released once"):
        merged.fit(X)
    merged.save(tmp_path / "merged.safetensors")
    again = load_private(tmp_path / "merged.safetensors")
    assert again.spend_ == merged.spend_
    np.testing.assert_array_equal(again.estimate_error(Y), merged.estimate_error(Y))
