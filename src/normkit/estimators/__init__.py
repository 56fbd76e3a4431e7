"""Estimators on tables, as scikit-learn knows them: `fit`, `predict`, fitted attributes that end in `_`.

Each takes arrays, DataFrames and, where the method allows, sparse matrices, and passes scikit-learn's own
`check_estimator`.
"""

from normkit.estimators.self_distilled_kernel_classifier import SelfDistilledKernelClassifier
from normkit.estimators.self_distilled_kernel_ridge import SelfDistilledKernelRidge
from normkit.losses import optimal_alpha

__all__ = ["SelfDistilledKernelClassifier", "SelfDistilledKernelRidge", "optimal_alpha"]
