"""Estimators on tables, as scikit-learn knows them: `fit`, `predict`, fitted attributes that end in `_`.

Each takes arrays, DataFrames and, where the method allows, sparse matrices, and passes scikit-learn's own
`check_estimator`.
"""

from normkit.estimators.compositions import alr, alr_inv, closure, clr, clr_inv, ilr, ilr_inv, orthonormal_basis
from normkit.estimators.log_ratio_transformers import ALRTransformer, CLRTransformer, ILRTransformer
from normkit.estimators.logistic_steps import iterates, iteration_bound, logistic_step
from normkit.estimators.normalized_logistic_regression import NormalizedLogisticRegression
from normkit.estimators.partial_correlation import PartialCorrelation, partial_correlation
from normkit.estimators.proportionality import logratio_variance, proportionality
from normkit.estimators.separability import Separability, margin, separability_report
from normkit.estimators.shrinkage import Shrunk, basis_shrinkage_covariance, shrink_covariance
from normkit.estimators.zeros import replace_zeros

__all__ = [
    "ALRTransformer",
    "CLRTransformer",
    "ILRTransformer",
    "NormalizedLogisticRegression",
    "PartialCorrelation",
    "Separability",
    "Shrunk",
    "alr",
    "alr_inv",
    "basis_shrinkage_covariance",
    "closure",
    "clr",
    "clr_inv",
    "ilr",
    "ilr_inv",
    "iterates",
    "iteration_bound",
    "logistic_step",
    "logratio_variance",
    "margin",
    "orthonormal_basis",
    "partial_correlation",
    "proportionality",
    "replace_zeros",
    "separability_report",
    "shrink_covariance",
]
