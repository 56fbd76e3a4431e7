"""What fitting hierarchical polynomials costs as samples are added, in 20 dimensions: linear, where a kernel is cubic.

The first size is that of the claim at which kernel ridge still fails. scikit-learn's kernel ridge chooses its ridge as
the regressor chooses its weight decay; PolynomialFeatures with Ridge, the best that one stage can do, chooses nothing.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from normkit.benchmarks._harness.growth import Growth
from normkit.benchmarks._harness.suite import Peer
from normkit.data import make_hierarchical_polynomial
from normkit.estimators import HierarchicalPolynomialRegressor, kernel_ridge

__all__ = ["suite"]

_D = 20


def _inputs(samples: int, generator: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    X, y, _ = make_hierarchical_polynomial(samples, _D, random_state=int(generator.integers(2**31)))
    return X, y


def _ours(X: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(HierarchicalPolynomialRegressor(random_state=0).fit(X, y).predict(X[:100]))


def _kernel(X: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(kernel_ridge(4).fit(X, y).predict(X[:100]))


def _quadratic(X: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(make_pipeline(PolynomialFeatures(2), Ridge()).fit(X, y).predict(X[:100]))


suite = Growth(
    op="hierarchical_polynomial",
    public=_ours,
    inputs=_inputs,
    sizes=(3_200, 32_000, 320_000),
    quick_size=400,
    peers=(
        Peer("kernel_ridge", _kernel, same=False, largest=10_000),
        Peer("PolynomialFeatures+Ridge", _quadratic, same=False),
    ),
    most_time_exponent=1.05,
    most_memory_exponent=1.05,
)
