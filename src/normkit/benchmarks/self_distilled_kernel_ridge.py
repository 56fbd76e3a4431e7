"""Five rounds of self-distilled kernel ridge regression by one factorization, against five fits of `KernelRidge`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.kernel_ridge import KernelRidge

from normkit.benchmarks import Growth, Peer
from normkit.estimators import SelfDistilledKernelRidge

__all__ = ["suite"]

GAMMA, RIDGE, ALPHA, ROUNDS = 0.02, 0.1, 0.2, 5

Array = NDArray[np.float64]


def inputs(size: int, generator: np.random.Generator) -> tuple[Array, Array, Array]:
    """Samples (size, 20) of a smooth function with noise, their targets, and 100 queries."""
    X, queries = generator.normal(size=(size, 20)), generator.normal(size=(100, 20))
    return X, np.sin(X.sum(axis=1)) + 0.3 * generator.normal(size=size), queries


def distilled(X: Array, y: Array, queries: Array) -> Any:
    """The last round at the queries."""
    model = SelfDistilledKernelRidge(gamma=GAMMA, lam=RIDGE, alpha=ALPHA, n_rounds=ROUNDS, solver="cholesky")
    return model.fit(X, y).predict(queries)


def fitted_by_round(X: Array, y: Array, queries: Array) -> Any:
    """The same by a fit of scikit-learn's `KernelRidge` for each round."""
    model, teacher = KernelRidge(alpha=RIDGE, kernel="rbf", gamma=GAMMA), y
    for _ in range(ROUNDS):
        teacher = model.fit(X, ALPHA * y + (1 - ALPHA) * teacher).predict(X)
    return model.predict(queries)


def most_bytes(size: int) -> float:
    """One kernel matrix, and a fifth of it beside."""
    return 1.2 * 8 * size**2 + 2**25


suite = Growth(
    op="self_distilled_kernel_ridge",
    public=distilled,
    inputs=inputs,
    sizes=(200, 2_000, 20_000),
    quick_size=100,
    # at 20,000 samples five fits take many minutes and twice the memory
    peers=(Peer("sklearn", fitted_by_round, largest=2_000),),
    tolerance=1e-9,
    most_time_exponent=3.0,
    most_memory_exponent=2.1,
    most_bytes=most_bytes,
)
