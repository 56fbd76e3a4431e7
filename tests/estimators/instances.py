"""One instance of every estimator, and the checks of scikit-learn that one of them cannot pass, with the reason.

An estimator stands here with what it cannot be built without (a privacy budget, a rule for zeros). Each instance is
small enough for the whole of `check_estimator`.
"""

from sklearn.base import BaseEstimator

from normkit.estimators import InfiniteNetClassifier

INSTANCES: tuple[BaseEstimator, ...] = (InfiniteNetClassifier(),)

# Class name: {check: why it fails}. A check that is listed and passes is an error too.
EXPECTED_FAILURES: dict[str, dict[str, str]] = {}
