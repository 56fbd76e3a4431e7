"""What 5 000 queries of a private release cost as private rows are added: the same, for the rows are gone.

Rows of 8 numbers, 512 frequencies. The peer sums the kernel over the rows themselves. No bar on memory: it holds blocks
of queries, whatever the rows were.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from normkit.benchmarks._harness.growth import Growth
from normkit.benchmarks._harness.suite import Peer
from normkit.estimators import PrivateKernelDensity
from normkit.estimators.private.exact import exact_kernel_sums

__all__ = ["suite"]


def _inputs(rows: int, generator: np.random.Generator) -> tuple[Any, NDArray[np.float64], NDArray[np.float64]]:
    X = generator.standard_normal((rows, 8))
    fitted = PrivateKernelDensity(epsilon=1.0, delta=1e-6, random_state=0, noise="fast").fit(X)
    return fitted, generator.standard_normal((5_000, 8)), X


def _ours(fitted: Any, Y: NDArray[np.float64], X: NDArray[np.float64]) -> Any:
    return fitted.sum(Y)


def _exact(fitted: Any, Y: NDArray[np.float64], X: NDArray[np.float64]) -> Any:
    return exact_kernel_sums(X, Y)


suite = Growth(
    op="private_queries",
    public=_ours,
    inputs=_inputs,
    sizes=(2_000, 20_000, 200_000),
    quick_size=100,
    peers=(Peer("sums over the rows", _exact, largest=20_000, same=False),),
    most_time_exponent=0.05,
)
