"""A thousand queries of the infinitely wide and deep classifier as training points are added: memory of one block.

Points on the sphere of dimension 2; the fit, which stores them, is not measured. The peer weighs all points by
‖x − x′‖^(−2), as the singular kernel does near the diagonal, and holds the distances of every query to every point.
Memory is that of a block of 64 queries and 4096 points, whatever n is, so its exponent is next to 0 from the size that
fills a block; below, it would be that of filling the first one. The number of bytes has a bar as well.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier

from normkit.benchmarks._harness.growth import Growth
from normkit.benchmarks._harness.suite import Peer
from normkit.estimators import InfiniteNetClassifier

__all__ = ["suite"]

Rows = NDArray[np.float64]

_QUERIES = 1_000


def _inputs(points: int, generator: np.random.Generator) -> tuple[Any, Any, Rows]:
    rows = np.abs(generator.standard_normal((points + _QUERIES, 3)))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    X, queries = rows[:points], rows[points:]
    y = generator.integers(0, 2, points)
    hilbert = KNeighborsClassifier(points, weights=_inverse_square, algorithm="brute")
    return InfiniteNetClassifier(preprocess=False).fit(X, y), hilbert.fit(X, y), queries


def _inverse_square(distances: Rows) -> Rows:
    with np.errstate(divide="ignore"):  # a distance of 0, as the products have it, outweighs all others
        weights: Rows = distances**-2.0
    return weights


def _ours(fitted: Any, hilbert: Any, queries: Rows) -> Any:
    return fitted.predict(queries)


def _hilbert(fitted: Any, hilbert: Any, queries: Rows) -> Any:
    return hilbert.predict(queries)


def _blocks(points: int) -> float:
    """64 MiB, whatever the number of points: a block's pairs take 2 MiB an array."""
    return 2**26


suite = Growth(
    op="infinite_net",
    public=_ours,
    inputs=_inputs,
    sizes=(10_000, 100_000, 1_000_000),
    quick_size=100,
    peers=(Peer("Hilbert by KNeighborsClassifier", _hilbert, largest=10_000, same=False),),
    most_time_exponent=1.1,
    most_memory_exponent=0.2,
    most_bytes=_blocks,
)
