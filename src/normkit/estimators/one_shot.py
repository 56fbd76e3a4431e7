"""Learners that fit a target at once, to compare a layer-wise one with: kernel ridge and fully connected networks.

All of them are scikit-learn's own; what stands here is how they are tuned: on the last part of the sample.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPRegressor

from normkit.estimators._parameters import check, is_number

__all__ = ["kernel_ridge", "two_layer_network"]

RIDGES = tuple(10.0**power for power in range(-8, 4))
"""The ridges among which validation chooses."""


class _LastPart:
    """One split: the last fifth validates, what stands before it fits."""

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """One."""
        return 1

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[Any, Any]]:
        """The indices of both parts."""
        n = X.shape[0]
        cut = n - max(1, n // 5)
        yield np.arange(cut), np.arange(cut, n)


def kernel_ridge(degree: int | None = 4, *, bandwidth: float | None = None) -> BaseEstimator:
    """Kernel ridge regression that chooses its ridge on the last 20 % of the sample and fits again on all of it.

    Args:
        degree: of the polynomial kernel (1 + xᵀz/d)^degree; None where a bandwidth is given.
        bandwidth: σ of the Gaussian kernel exp(−‖x − z‖²/(2σ²)) instead; for standard normal x in d dimensions, √d.

    Returns:
        scikit-learn's `GridSearchCV` over its `KernelRidge`. Time n³, memory n².

    Raises:
        ValueError: both or none of them, or a degree or bandwidth that is not positive.
    """
    if (degree is None) == (bandwidth is None):
        raise ValueError(f"degree is {degree} and bandwidth {bandwidth}: give one of them and None for the other")
    for name, value in {"degree": degree, "bandwidth": bandwidth}.items():
        check(name, value, value is None or (is_number(value) and value > 0), "a positive number or None")
    if bandwidth is None:
        model = KernelRidge(kernel="poly", degree=degree)  # gamma None is 1/d, coef0 is 1
    else:
        model = KernelRidge(kernel="rbf", gamma=1 / (2 * bandwidth**2))
    return GridSearchCV(model, {"alpha": RIDGES}, cv=_LastPart(), scoring="neg_mean_squared_error")


def two_layer_network(
    hidden: Sequence[int] = (512,), *, epochs: int = 30, batch_size: int = 32, random_state: Any = None
) -> BaseEstimator:
    """A fully connected ReLU network trained end to end by Adam; the epoch that validates best is kept.

    Args:
        hidden: units of the hidden layers; more than one makes it deeper.
        epochs: how many are trained. scikit-learn warns at the end that the last epoch is no convergence.
        batch_size: of Adam.
        random_state: a seed, a numpy RandomState, or None.

    Returns:
        scikit-learn's `MLPRegressor`, which validates on a random tenth of the sample.

    Raises:
        ValueError: in `fit`, by scikit-learn, a size or number that is out of range.
    """
    return MLPRegressor(
        hidden_layer_sizes=tuple(hidden),
        early_stopping=True,
        n_iter_no_change=epochs,
        max_iter=epochs,
        batch_size=batch_size,
        random_state=random_state,
    )
