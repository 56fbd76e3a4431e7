"""Estimators on tables, as scikit-learn knows them: `fit`, `predict`, fitted attributes that end in `_`.

Each takes arrays, DataFrames and, where the method allows, sparse matrices, and passes scikit-learn's own
`check_estimator`.
"""

from normkit.estimators.dual_activation import dual_activation
from normkit.estimators.hermite import hermite_coefficients
from normkit.estimators.infinite_net import InfiniteNetClassifier
from normkit.estimators.ntk import ntk
from normkit.estimators.singular_kernel import log_singular_kernel
from normkit.estimators.taxonomy import Taxonomy, taxonomy

__all__ = [
    "InfiniteNetClassifier",
    "Taxonomy",
    "dual_activation",
    "hermite_coefficients",
    "log_singular_kernel",
    "ntk",
    "taxonomy",
]
