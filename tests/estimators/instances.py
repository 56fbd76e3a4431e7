"""One instance of every estimator, and the checks of scikit-learn that one of them cannot pass, with the reason.

An estimator stands here with what it cannot be built without (a privacy budget, a rule for zeros). Each instance is
small enough for the whole of `check_estimator`.
"""

from sklearn.base import BaseEstimator

from normkit.estimators import (
    ALRTransformer,
    CLRTransformer,
    ILRTransformer,
    NormalizedLogisticRegression,
    PartialCorrelation,
)

INSTANCES: tuple[BaseEstimator, ...] = (
    ALRTransformer(zeros=1e-9),
    CLRTransformer(zeros=1e-9),
    ILRTransformer(zeros=1e-9),
    NormalizedLogisticRegression(max_iter=100),
    PartialCorrelation(zeros=1e-9),
)

# Class name: {check: why it fails}. A check that is listed and passes is an error too.
EXPECTED_FAILURES: dict[str, dict[str, str]] = {
    "PartialCorrelation": dict.fromkeys(
        (
            "check_estimators_fit_returns_self",
            "check_estimators_overwrite_params",
            "check_fit_check_is_fitted",
            "check_fit_idempotent",
            "check_n_features_in",
            "check_readonly_memmap_input",
        ),
        "the check's table has two parts: they are one ratio, and nothing is left to correlate",
    ),
}
