"""What 2 000 queries of a private sum of distances cost as private rows are added: the same, for the rows are gone.

Rows of 4 numbers, a tree of 2^14 bins for each; the noise comes from a seed, which changes no query's cost. The peers:
the distances to the rows themselves, and the paper's own query, which counts shells around each y instead of reading
prefix sums (another estimate, at α = 0.1).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from normkit.benchmarks._harness.growth import Growth
from normkit.benchmarks._harness.suite import Peer
from normkit.estimators import PrivateDistance
from normkit.estimators.private.exact import exact_distance_sums

__all__ = ["suite"]

_Inputs = tuple[Any, Any, NDArray[np.float64], NDArray[np.float64]]


def _inputs(rows: int, generator: np.random.Generator) -> _Inputs:
    X = generator.random((rows, 4))
    consistent, geometric = (
        PrivateDistance(bounds=(0.0, 1.0), epsilon=1.0, query=query, insecure_seed=0).fit(X)
        for query in ("consistent", "geometric")
    )
    return consistent, geometric, generator.random((2_000, 4)), X


def _ours(consistent: Any, geometric: Any, Y: NDArray[np.float64], X: NDArray[np.float64]) -> Any:
    return consistent.sum_distances(Y)


def _shells(consistent: Any, geometric: Any, Y: NDArray[np.float64], X: NDArray[np.float64]) -> Any:
    return geometric.sum_distances(Y)


def _exact(consistent: Any, geometric: Any, Y: NDArray[np.float64], X: NDArray[np.float64]) -> Any:
    return exact_distance_sums(X, Y)


suite = Growth(
    op="private_distances",
    public=_ours,
    inputs=_inputs,
    sizes=(2_000, 20_000, 200_000),
    quick_size=100,
    peers=(
        Peer("distances to the rows", _exact, largest=20_000, same=False),
        Peer("geometric shells", _shells, same=False),
    ),
    most_time_exponent=0.05,
)
