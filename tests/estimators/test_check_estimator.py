"""scikit-learn's own checks, over every estimator; the list of instances is complete."""

import inspect
from typing import Any

import pytest
from sklearn.base import BaseEstimator
from sklearn.utils.estimator_checks import parametrize_with_checks

from normkit import estimators

from .instances import EXPECTED_FAILURES, INSTANCES


def _expected_failures(estimator: BaseEstimator) -> dict[str, str]:
    return EXPECTED_FAILURES.get(type(estimator).__name__, {})


# A search that its few steps do not end says so, as it should.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
# So does one that finds nothing to distil in random labels.
@pytest.mark.filterwarnings("ignore:nothing was distilled")
@parametrize_with_checks(list(INSTANCES), expected_failed_checks=_expected_failures, xfail_strict=True)
def test_scikit_learns_checks(estimator: BaseEstimator, check: Any) -> None:
    check(estimator)


def test_every_estimator_has_an_instance() -> None:
    public = (getattr(estimators, name) for name in estimators.__all__)
    every = {found for found in public if inspect.isclass(found) and issubclass(found, BaseEstimator)}
    assert every == {type(instance) for instance in INSTANCES}


@pytest.mark.parametrize("name", sorted(EXPECTED_FAILURES))
def test_an_expected_failure_belongs_to_an_estimator(name: str) -> None:
    assert name in {type(instance).__name__ for instance in INSTANCES}
    assert all(reason.strip() for reason in EXPECTED_FAILURES[name].values())
