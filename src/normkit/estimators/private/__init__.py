"""Similarities to private data: one noisy structure is released, and every query of it afterwards is free.

A query's sum of kernels or of distances over private rows leaks a little with each answer. Here the data are read once,
into a tree of counts or a vector of summed features; noise matched to what one row can change is added once; the rows
are forgotten. What is computed from the released numbers is post-processing and spends nothing.

Source: Backurs, Lin, Mahabadi, Silwal, Tarnawski, *Efficiently Computing Similarities to Private Datasets*, ICLR 2024,
arXiv:2403.08917.
"""

from normkit.estimators.private.calibration import gaussian_sigma
from normkit.estimators.private.classifier import PrivateSimilarityClassifier
from normkit.estimators.private.density import PrivateKernelDensity
from normkit.estimators.private.distance import PrivateDistance
from normkit.estimators.private.files import load_private
from normkit.estimators.private.spend import PrivacyBudget, PrivacyBudgetError, PrivacySpend, PrivacyWarning

__all__ = [
    "PrivacyBudget",
    "PrivacyBudgetError",
    "PrivacySpend",
    "PrivacyWarning",
    "PrivateDistance",
    "PrivateKernelDensity",
    "PrivateSimilarityClassifier",
    "gaussian_sigma",
    "load_private",
]
