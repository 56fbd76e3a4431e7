"""What 5 000 queries of a private release cost as private rows are added: the same, for the rows are gone.

Rows of 8 numbers, 512 frequencies; the noise comes from a seed, which changes no query's cost. The peers: the kernel
summed over the rows themselves, and the prior work's phase features (Wagner, Naamad, Mishra, ICML 2023) over as many
released numbers, which are 1,024 frequencies of one cosine. No bar on memory: it holds blocks of queries, whatever the
rows were.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from normkit.benchmarks._harness.growth import Growth
from normkit.benchmarks._harness.suite import Peer
from normkit.estimators import PrivateKernelDensity
from normkit.estimators.private.exact import exact_kernel_sums

__all__ = ["suite"]

_FREQUENCIES = 512


def _inputs(rows: int, generator: np.random.Generator) -> tuple[Any, NDArray[np.float64], NDArray[np.float64]]:
    X = generator.standard_normal((rows, 8))
    density = PrivateKernelDensity(epsilon=1.0, n_features=_FREQUENCIES, random_state=0, insecure_seed=0)
    return density.fit(X), generator.standard_normal((5_000, 8)), X


def _ours(fitted: Any, Y: NDArray[np.float64], X: NDArray[np.float64]) -> Any:
    return fitted.sum(Y)


def _exact(fitted: Any, Y: NDArray[np.float64], X: NDArray[np.float64]) -> Any:
    return exact_kernel_sums(X, Y)


def _phases(fitted: Any, Y: NDArray[np.float64], X: NDArray[np.float64]) -> Any:
    """What a query costs does not depend on the sums: those of ours stand in."""
    count = 2 * _FREQUENCIES
    frequencies = np.concatenate((fitted.frequencies_, fitted.frequencies_), axis=1)
    phase = np.linspace(0, 2 * np.pi, count)
    return np.sqrt(2) * np.cos(Y @ frequencies + phase) @ fitted.sums_[0] / count


suite = Growth(
    op="private_queries",
    public=_ours,
    inputs=_inputs,
    sizes=(2_000, 20_000, 200_000),
    quick_size=100,
    peers=(
        Peer("sums over the rows", _exact, largest=20_000, same=False),
        Peer("phase features", _phases, same=False),
    ),
    most_time_exponent=0.05,
)
