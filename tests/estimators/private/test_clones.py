"""Cross-validation and searches over private estimators: what a shared budget refuses, and what is warned of."""

import gc
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from normkit.estimators import (
    PrivacyBudget,
    PrivacyBudgetError,
    PrivacyWarning,
    PrivateKernelDensity,
    PrivateSimilarityClassifier,
    load_private,
)
from normkit.estimators.private import clones

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 2))
LABELS = np.where(X[:, 0] > 0, "l", "r")


def _classifier(**options: object) -> PrivateSimilarityClassifier:
    return PrivateSimilarityClassifier(epsilon=1.0, n_features=8, classes=["l", "r"], **options)


def test_cross_validation_is_refused_where_the_shared_budget_runs_out() -> None:
    budget = PrivacyBudget(3.0)
    with pytest.raises(PrivacyBudgetError, match=r"costs epsilon 1 .* 3 and 0 are spent"):
        cross_val_score(_classifier(budget=budget), X, LABELS, cv=5, error_score="raise")
    assert budget.spent == (3.0, 0.0)
    enough = PrivacyBudget(5.0)
    assert cross_val_score(_classifier(budget=enough), X, LABELS, cv=5, error_score="raise").shape == (5,)
    assert enough.spent == (5.0, 0.0)


def test_folds_that_were_refused_have_no_score() -> None:
    """scikit-learn's own way of refusals: a warning, and NaN."""
    with pytest.warns(FitFailedWarning, match="2 fits failed"):
        scores = cross_val_score(_classifier(budget=PrivacyBudget(3.0)), X, LABELS, cv=5)
    np.testing.assert_array_equal(np.isnan(scores), [False, False, False, True, True])


def test_a_search_in_a_pipeline_shares_the_budget_too() -> None:
    budget = PrivacyBudget(4.0)
    pipeline = make_pipeline(FunctionTransformer(lambda rows: rows / 2), _classifier(budget=budget))
    grid = {"privatesimilarityclassifier__bandwidth": [1.0, 2.0]}
    with pytest.raises(PrivacyBudgetError, match="4 and 0 are spent"):
        GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X, LABELS)  # the fit of the best one is the fifth


def test_clones_without_a_budget_are_warned_of_once() -> None:
    estimator = _classifier()
    with pytest.warns(PrivacyWarning, match="a clone of this estimator has released already .epsilon 1") as caught:
        cross_val_score(estimator, X, LABELS, cv=5)
    assert len(caught) == 1
    assert caught[0].filename != clones.__file__
    grid = GridSearchCV(_classifier(), {"bandwidth": [1.0, 2.0]}, cv=2)
    with pytest.warns(PrivacyWarning, match="budget=PrivacyBudget"):
        grid.fit(X, LABELS)


def test_clones_of_clones_and_the_first_one_are_one_family() -> None:
    first = PrivateKernelDensity(epsilon=1.0, n_features=2)
    second = clone(clone(first))
    second.fit(X)
    with pytest.warns(PrivacyWarning, match="has released already"):
        first.fit(X)


def test_a_clone_of_what_has_released_is_warned_of(tmp_path: Path) -> None:
    """Also where the release was made in another process, of which a file or a pickle is left."""
    first = PrivateKernelDensity(epsilon=1.0, n_features=2).fit(X)
    first.save(tmp_path / "release.safetensors")
    for released in (first, load_private(tmp_path / "release.safetensors"), pickle.loads(pickle.dumps(first))):
        with pytest.warns(PrivacyWarning, match="has released already .epsilon 1"):
            clone(released).fit(X)


def test_a_budget_that_a_later_clone_brings_is_warned_of() -> None:
    """It cannot tell whether the earlier clone saw the same rows; where it did, it is told."""
    one = PrivateKernelDensity(epsilon=1.0, n_features=2)
    first, budget = clone(one).fit(X), PrivacyBudget(9.0)
    with pytest.warns(PrivacyWarning, match=r"this budget has not counted that one.*budget\.charge\(clone\.spend_\)"):
        clone(one).set_params(budget=budget).fit(X)
    budget.charge(first.spend_)
    assert budget.spent == (2.0, 0.0)
    two = PrivateKernelDensity(epsilon=1.0, n_features=2)
    budget.charge(clone(two).fit(X).spend_)
    clone(two).set_params(budget=budget).fit(X)  # nothing is left to be warned of
    assert budget.spent == (4.0, 0.0)


def test_a_warning_that_is_an_error_comes_before_a_row_is_read() -> None:
    first = PrivateKernelDensity(epsilon=1.0, n_features=2)
    second = clone(first).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error", PrivacyWarning)
        with pytest.raises(PrivacyWarning):
            first.fit(None)
    assert not hasattr(first, "spend_")
    assert hasattr(second, "spend_")


def test_one_release_a_budget_and_seeds_are_not_warned_of() -> None:
    one = PrivateKernelDensity(epsilon=1.0, n_features=2)
    clone(one).fit(X)
    for options in ({"insecure_seed": 0}, {"budget": PrivacyBudget(9.0)}):
        estimator = PrivateKernelDensity(epsilon=1.0, n_features=2, **options)
        for _ in range(3):
            clone(estimator).fit(X)
    for _ in range(2):
        PrivateKernelDensity(epsilon=1.0, n_features=2).fit(X)


def test_families_are_kept_beside_the_objects_and_forgotten_with_them() -> None:
    one = PrivateKernelDensity(epsilon=1.0, n_features=2)
    two = clone(one).fit(X)
    assert not any("famil" in name for name in vars(two))
    pickle.loads(pickle.dumps(two))
    gc.collect()
    before = len(clones._families)
    del one, two
    gc.collect()
    assert len(clones._families) <= before - 2
