"""Five rounds of self-distilled ridge regression on 300 Nyström features: the cost of samples beyond a kernel."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from normkit.benchmarks import Growth
from normkit.benchmarks.self_distilled_kernel_ridge import ALPHA, GAMMA, RIDGE, ROUNDS, inputs
from normkit.estimators import SelfDistilledKernelRidge

__all__ = ["suite"]

Array = NDArray[np.float64]


def distilled(X: Array, y: Array, queries: Array) -> Any:
    """The last round at the queries."""
    model = SelfDistilledKernelRidge(
        gamma=GAMMA, lam=RIDGE, alpha=ALPHA, n_rounds=ROUNDS, n_components=300, random_state=0
    )
    return model.fit(X, y).predict(queries)


def most_bytes(size: int) -> float:
    """Blocks of samples and of features, however many samples there are; a copy of the input comes on top."""
    return 4 * 2**26 + 8 * 20 * size


suite = Growth(
    op="self_distilled_nystroem",
    public=distilled,
    inputs=inputs,
    sizes=(2_000, 20_000, 200_000),
    quick_size=400,
    most_time_exponent=1.1,
    most_memory_exponent=1.1,
    most_bytes=most_bytes,
)
