"""Estimators on tables, as scikit-learn knows them: `fit`, `predict`, fitted attributes that end in `_`.

Each takes arrays, DataFrames and, where the method allows, sparse matrices, and passes scikit-learn's own
`check_estimator`.
"""

from normkit.estimators.hierarchical_polynomial import HierarchicalPolynomialRegressor
from normkit.estimators.logistic_steps import iterates, iteration_bound, logistic_step
from normkit.estimators.normalized_logistic_regression import NormalizedLogisticRegression
from normkit.estimators.one_shot import kernel_ridge, two_layer_network
from normkit.estimators.private import (
    PrivacyBudget,
    PrivacyBudgetError,
    PrivacySpend,
    PrivacyWarning,
    PrivateDistance,
    PrivateKernelDensity,
    PrivateSimilarityClassifier,
    gaussian_sigma,
    load_private,
)
from normkit.estimators.sample_complexity import SampleComplexity, sample_complexity_report
from normkit.estimators.self_distilled_kernel_classifier import SelfDistilledKernelClassifier
from normkit.estimators.self_distilled_kernel_ridge import SelfDistilledKernelRidge
from normkit.estimators.separability import Separability, margin, separability_report
from normkit.losses import optimal_alpha

__all__ = [
    "HierarchicalPolynomialRegressor",
    "NormalizedLogisticRegression",
    "PrivacyBudget",
    "PrivacyBudgetError",
    "PrivacySpend",
    "PrivacyWarning",
    "PrivateDistance",
    "PrivateKernelDensity",
    "PrivateSimilarityClassifier",
    "SampleComplexity",
    "SelfDistilledKernelClassifier",
    "SelfDistilledKernelRidge",
    "Separability",
    "gaussian_sigma",
    "iterates",
    "iteration_bound",
    "kernel_ridge",
    "load_private",
    "logistic_step",
    "margin",
    "optimal_alpha",
    "sample_complexity_report",
    "separability_report",
    "two_layer_network",
]
