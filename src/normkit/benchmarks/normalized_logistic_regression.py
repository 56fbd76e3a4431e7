"""Thirty steps of normalised logistic descent on labels that nothing separates, 100 features; plain descent beside it.

A step is two matrix products, and what the normalisation adds to them is a softmax over the margins.
"""

import warnings

import numpy as np
from numpy import ndarray
from sklearn.exceptions import ConvergenceWarning

from normkit.benchmarks._harness.growth import Growth
from normkit.benchmarks._harness.suite import Peer
from normkit.estimators import NormalizedLogisticRegression

__all__ = ["suite"]

_FEATURES, _STEPS = 100, 30


def _inputs(n: int, generator: np.random.Generator) -> tuple[ndarray, ndarray]:
    samples = generator.standard_normal((n, _FEATURES))
    samples[1] = samples[0]  # with the two labels that follow: never separated, which a linear programme need not find
    labels = np.append([0, 1], generator.integers(2, size=n - 2))
    return samples, labels


def _fit(X: ndarray, y: ndarray, method: str) -> ndarray:
    model = NormalizedLogisticRegression(10.0, method, max_iter=_STEPS, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.asarray(model.fit(X, y).coef_)


def _normalized(X: ndarray, y: ndarray) -> ndarray:
    return _fit(X, y, "normalized")


def _plain(X: ndarray, y: ndarray) -> ndarray:
    return _fit(X, y, "plain")


suite = Growth(
    op="normalized_logistic_regression",
    public=_normalized,
    inputs=_inputs,
    sizes=(20_000, 200_000, 1_000_000),
    quick_size=50,
    peers=(Peer("plain descent", _plain, same=False),),
    most_time_exponent=1.1,
    most_memory_exponent=1.05,
)
