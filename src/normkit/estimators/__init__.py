"""Estimators on tables, as scikit-learn knows them: `fit`, `predict`, fitted attributes that end in `_`.

Each takes arrays, DataFrames and, where the method allows, sparse matrices, and passes scikit-learn's own
`check_estimator`.
"""

from normkit.estimators.logistic_steps import iterates, iteration_bound, logistic_step
from normkit.estimators.normalized_logistic_regression import NormalizedLogisticRegression
from normkit.estimators.separability import Separability, margin, separability_report

__all__ = [
    "NormalizedLogisticRegression",
    "Separability",
    "iterates",
    "iteration_bound",
    "logistic_step",
    "margin",
    "separability_report",
]
