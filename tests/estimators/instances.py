"""One instance of every estimator, and the checks of scikit-learn that one of them cannot pass, with the reason.

An estimator stands here with what it cannot be built without (a privacy budget, a rule for zeros). Each instance is
small enough for the whole of `check_estimator`.
"""

from sklearn.base import BaseEstimator

from normkit.estimators import (
    ALRTransformer,
    CLRTransformer,
    HierarchicalPolynomialRegressor,
    ILRTransformer,
    InfiniteNetClassifier,
    NormalizedLogisticRegression,
    PartialCorrelation,
    PrivateDistance,
    PrivateKernelDensity,
    PrivateSimilarityClassifier,
    SelfDistilledKernelClassifier,
    SelfDistilledKernelRidge,
)

INSTANCES: tuple[BaseEstimator, ...] = (
    ALRTransformer(zeros=1e-9),
    CLRTransformer(zeros=1e-9),
    HierarchicalPolynomialRegressor(split=0.85),  # of a check's 12 samples, 10 for the first stage, which needs them
    ILRTransformer(zeros=1e-9),
    InfiniteNetClassifier(),
    NormalizedLogisticRegression(max_iter=100),
    PartialCorrelation(zeros=1e-9),
    # seeded noise: most checks fit twice and compare, which a secret source of noise and a spent budget forbid
    PrivateDistance(bounds=(-10.0, 10.0), epsilon=10.0, depth=4, insecure_seed=0),
    PrivateKernelDensity(epsilon=10.0, n_features=16, insecure_seed=0),
    PrivateSimilarityClassifier(epsilon=1e4, bandwidth=3.0, n_features=256, insecure_seed=0),
    SelfDistilledKernelClassifier(lam=0.1, n_rounds=3, random_state=0),
    SelfDistilledKernelRidge(lam=0.1, n_rounds=3, random_state=0),
)

# Class name: {check: why it fails}. A check that is listed and passes is an error too.
EXPECTED_FAILURES: dict[str, dict[str, str]] = {
    "HierarchicalPolynomialRegressor": {
        "check_estimators_nan_inf": "fits 5 to 10 samples, and the first stage says that it needs 10 of its own",
        "check_regressors_no_decision_function": "fits 10 samples, too few for two stages",
        "check_sample_weight_equivalence_on_dense_data": "the stages share out whole samples: two equal ones may part, "
        "one of weight 2 cannot",
    },
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
    "SelfDistilledKernelRidge": dict.fromkeys(
        ("check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data"),
        "alpha is found on samples drawn at random, and those drawn of repeated samples are others than those drawn of "
        "weighted ones; with a given alpha the two are one (tests/estimators/test_self_distilled_kernel_ridge.py)",
    ),
}
