"""Budgets count every release of an object, refuse what is no release, and know the process that they count in."""

import contextlib
import copy
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from normkit.estimators import (
    PrivacyBudget,
    PrivacyBudgetError,
    PrivateDistance,
    PrivateKernelDensity,
    PrivateSimilarityClassifier,
    load_private,
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


def test_budgets_by_turns_count_all_that_the_object_has_released() -> None:
    one, two = PrivacyBudget(9.0), PrivacyBudget(9.0)
    density = _density(budget=one).fit(X).set_params(budget=two)
    for _ in range(3):
        density.fit(X)
    assert (one.spent[0], two.spent[0]) == (1.0, 4.0)
    density.set_params(budget=one).fit(X)
    assert one.spent[0] == 5.0
    with pytest.raises(PrivacyBudgetError, match="costs epsilon 6"):
        density.set_params(budget=PrivacyBudget(5.5)).fit(X)


def test_a_seed_between_two_releases_forgets_none() -> None:
    density = _density(budget=PrivacyBudget(9.0)).fit(X).set_params(insecure_seed=0).fit(X)
    density.set_params(insecure_seed=None, budget=None)
    with pytest.raises(PrivacyBudgetError, match="has released once"):
        density.fit(X)


def test_a_copy_of_a_release_is_not_counted_again(tmp_path: Path) -> None:
    budget = PrivacyBudget(9.0)
    density = _density(budget=budget).fit(X)
    density.save(tmp_path / "release.safetensors")
    copy.deepcopy(density).fit(X)
    assert budget.spent[0] == 2.0
    read = load_private(tmp_path / "release.safetensors").set_params(budget=budget)
    read.fit(X)
    assert budget.spent[0] == 3.0
    late = PrivacyBudget(9.0)
    read.set_params(budget=late).fit(X)
    assert late.spent[0] == 3.0  # what was in the file, and two fits of what was read from it


def test_a_merged_release_is_counted_where_all_its_parts_are() -> None:
    budget = PrivacyBudget(9.0)
    one, two = (_density(random_state=0, budget=budget).fit(X) for _ in range(2))
    one.merge(two).set_params(budget=budget).fit(X)
    assert budget.spent[0] == 3.0
    other = _density(random_state=0).fit(X)
    one.merge(other).set_params(budget=budget).fit(X)
    assert budget.spent[0] == 5.0


class _Meeting:
    """Rows that are read where two threads have come to read them, or one has waited for the other in vain."""

    def __init__(self) -> None:
        self._both = threading.Barrier(2)

    def __array__(self, *arguments: object, **options: object) -> np.ndarray:
        with contextlib.suppress(threading.BrokenBarrierError):
            self._both.wait(timeout=0.5)
        return X


def test_an_object_releases_once_whatever_the_number_of_threads() -> None:
    density, rows, outcomes = _density(), _Meeting(), []

    def fit() -> None:
        try:
            outcomes.append(density.fit(rows).sums_)
        except PrivacyBudgetError:
            outcomes.append(None)

    threads = [threading.Thread(target=fit) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 2
    assert sum(outcome is None for outcome in outcomes) == 1
    assert density.sums_ is next(outcome for outcome in outcomes if outcome is not None)


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
