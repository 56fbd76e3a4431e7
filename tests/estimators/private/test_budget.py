"""Budgets count every release of an object, refuse what is no release, and know the process that they count in."""

import os
from typing import Any

import numpy as np
import pytest

from normkit.estimators import (
    PrivacyBudget,
    PrivacyBudgetError,
    PrivateDistance,
    PrivateKernelDensity,
    PrivateSimilarityClassifier,
)
from normkit.estimators.private import tree

X = np.random.default_rng(0).normal(size=(50, 2))


def _density(**options: object) -> PrivateKernelDensity:
    return PrivateKernelDensity(epsilon=1.0, n_features=8, **options)


def test_a_budget_that_is_given_late_counts_the_release_before_it() -> None:
    budget = PrivacyBudget(2.5)
    density = _density().fit(X).set_params(budget=budget).fit(X)
    assert budget.spent == (2.0, 0.0)
    with pytest.raises(PrivacyBudgetError, match="ask for less"):
        density.fit(X)
    with pytest.raises(PrivacyBudgetError, match="costs epsilon 2"):
        _density().fit(X).set_params(budget=PrivacyBudget(1.0)).fit(X)


def test_the_fast_sampler_and_a_pure_budget_are_told_apart_before_a_row_is_read() -> None:
    with pytest.raises(ValueError, match="give the budget a delta"):
        _density(noise="fast", budget=PrivacyBudget(5.0)).fit(X)
    budget = PrivacyBudget(5.0, 1e-6)
    _density(noise="fast", budget=budget).fit(X)
    assert budget.spent[0] == 1.0


def test_what_is_no_budget_and_no_cost_is_refused() -> None:
    with pytest.raises(ValueError, match="give a PrivacyBudget"):
        _density(budget=1.0).fit(X)
    with pytest.raises(ValueError, match="no less than nothing"):
        PrivacyBudget(1.0).check(-1.0)


def test_a_budget_counts_in_the_process_that_made_it(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = PrivacyBudget(1.0)
    own = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: own + 1)
    with pytest.raises(PrivacyBudgetError, match="another process"):
        budget.check(0.1)


def test_what_was_released_without_privacy_says_so_whatever_is_set_later() -> None:
    density = _density(insecure_seed=0).fit(X)
    assert "NOT PRIVATE" in repr(density.set_params(insecure_seed=None))


def test_a_refused_fit_leaves_what_was_released() -> None:
    budget = PrivacyBudget(1.0)
    density = PrivateKernelDensity(epsilon=1.0, n_features=8, budget=budget).fit(X)
    before, kept = density.sum(X[:3]), density.frequencies_
    density.set_params(noise="fast", budget=PrivacyBudget(100.0, 1e-30))
    with pytest.raises(ValueError, match=r"delta|budget"):
        density.fit(X)
    assert density.frequencies_ is kept
    np.testing.assert_array_equal(density.sum(X[:3]), before)
    with pytest.raises(ValueError, match="NaN"):
        PrivateKernelDensity(epsilon=1.0).fit(X * np.nan)


class _Watched:
    """Rows that note when they are read."""

    def __init__(self) -> None:
        self.read = 0

    def __array__(self, *arguments: object, **options: object) -> np.ndarray:
        self.read += 1
        return X


REFUSED = [
    (PrivateKernelDensity, {"epsilon": 60.0, "delta": 0.0}),
    (PrivateKernelDensity, {"epsilon": 700.0, "delta": 1e-9}),
    (PrivateSimilarityClassifier, {"epsilon": 60.0, "delta": 0.0, "classes": [0, 1]}),
    (PrivateSimilarityClassifier, {"epsilon": 1.0, "delta": 1e-13, "classes": [0, 1]}),
    (PrivateSimilarityClassifier, {"epsilon": 60.0, "delta": 0.0, "classes": [0, 1], "weighting": "mean"}),
]


@pytest.mark.parametrize(("kind", "options"), REFUSED)
def test_the_fast_sampler_is_refused_before_a_row_is_read(kind: Any, options: dict[str, Any]) -> None:
    """Where the size of the release is given; the size, and so what the sampler's error costs, needs no data."""
    rows, budget = _Watched(), PrivacyBudget(1e6, 0.5)
    with pytest.raises(ValueError, match="noise is 'fast', whose error costs"):
        kind(noise="fast", budget=budget, **options).fit(rows, np.arange(50) % 2)
    assert rows.read == 0
    assert budget.spends == ()


@pytest.mark.parametrize(
    "estimator",
    [
        PrivateDistance(bounds=(-1, 1), epsilon=60.0, noise="fast"),
        PrivateDistance("l2", bounds=1.0, epsilon=60.0, noise="fast"),
        PrivateDistance("sqeuclidean", bounds=1.0, epsilon=60.0, noise="fast", neighbours="replace_one"),
        PrivateSimilarityClassifier("inner", epsilon=60.0, noise="fast", classes=[0, 1]),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_where_the_size_is_that_of_the_rows_it_is_refused_before_they_are_summed(
    estimator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def summed(*_: object, **__: object) -> None:
        raise AssertionError("rows were summed")

    monkeypatch.setattr(tree, "tree_counts", summed)
    if getattr(estimator, "metric", None) != "l2":  # which projects by exact products of whole numbers
        monkeypatch.setattr(np, "rint", summed)
    budget = PrivacyBudget(1e6, 0.5)
    with pytest.raises(ValueError, match="noise is 'fast', whose error costs"):
        estimator.set_params(budget=budget).fit(X, np.arange(50) % 2)
    assert budget.spends == ()


def test_the_fast_samplers_own_delta_is_held_against_the_budget_before_a_row_is_read() -> None:
    rows, budget = _Watched(), PrivacyBudget(5.0, 1e-300)
    with pytest.raises(PrivacyBudgetError, match="costs epsilon 1 and delta"):
        _density(noise="fast", budget=budget).fit(rows)
    assert rows.read == 0
    assert budget.spends == ()
