"""Estimators on tables, as scikit-learn knows them: `fit`, `predict`, fitted attributes that end in `_`.

Each takes arrays, DataFrames and, where the method allows, sparse matrices, and passes scikit-learn's own
`check_estimator`.
"""

from normkit.estimators.compositions import alr, alr_inv, closure, clr, clr_inv, ilr, ilr_inv, orthonormal_basis
from normkit.estimators.dual_activation import dual_activation
from normkit.estimators.hermite import hermite_coefficients
from normkit.estimators.hierarchical_polynomial import HierarchicalPolynomialRegressor
from normkit.estimators.infinite_net import InfiniteNetClassifier
from normkit.estimators.log_ratio_transformers import ALRTransformer, CLRTransformer, ILRTransformer
from normkit.estimators.logistic_steps import iterates, iteration_bound, logistic_step
from normkit.estimators.normalized_logistic_regression import NormalizedLogisticRegression
from normkit.estimators.ntk import ntk
from normkit.estimators.one_shot import kernel_ridge, two_layer_network
from normkit.estimators.partial_correlation import PartialCorrelation, partial_correlation
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
from normkit.estimators.proportionality import logratio_variance, proportionality
from normkit.estimators.sample_complexity import SampleComplexity, sample_complexity_report
from normkit.estimators.self_distilled_kernel_classifier import SelfDistilledKernelClassifier
from normkit.estimators.self_distilled_kernel_ridge import SelfDistilledKernelRidge
from normkit.estimators.separability import Separability, margin, separability_report
from normkit.estimators.shrinkage import Shrunk, basis_shrinkage_covariance, shrink_covariance
from normkit.estimators.singular_kernel import log_singular_kernel
from normkit.estimators.taxonomy import Taxonomy, taxonomy
from normkit.estimators.zeros import replace_zeros
from normkit.losses import optimal_alpha

__all__ = [
    "ALRTransformer",
    "CLRTransformer",
    "HierarchicalPolynomialRegressor",
    "ILRTransformer",
    "InfiniteNetClassifier",
    "NormalizedLogisticRegression",
    "PartialCorrelation",
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
    "Shrunk",
    "Taxonomy",
    "alr",
    "alr_inv",
    "basis_shrinkage_covariance",
    "closure",
    "clr",
    "clr_inv",
    "dual_activation",
    "gaussian_sigma",
    "hermite_coefficients",
    "ilr",
    "ilr_inv",
    "iterates",
    "iteration_bound",
    "kernel_ridge",
    "load_private",
    "log_singular_kernel",
    "logistic_step",
    "logratio_variance",
    "margin",
    "ntk",
    "optimal_alpha",
    "orthonormal_basis",
    "partial_correlation",
    "proportionality",
    "replace_zeros",
    "sample_complexity_report",
    "separability_report",
    "shrink_covariance",
    "taxonomy",
    "two_layer_network",
]
