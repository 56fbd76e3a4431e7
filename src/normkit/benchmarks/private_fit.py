"""What a private release costs as rows are added: time grows with the rows, memory stays within blocks.

Rows of 8 numbers, 512 frequencies; noise from the fast sampler, so that no extra is needed (its part does not grow).
The peer keeps the sums without noise, as one product over all rows at once.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from normkit.benchmarks._harness.growth import Growth
from normkit.benchmarks._harness.suite import Peer
from normkit.estimators import PrivateKernelDensity
from normkit.estimators.private.features import fourier_features

__all__ = ["suite"]


def _inputs(rows: int, generator: np.random.Generator) -> tuple[NDArray[np.float64]]:
    return (generator.standard_normal((rows, 8)),)


def _ours(X: NDArray[np.float64]) -> Any:
    return PrivateKernelDensity(epsilon=1.0, delta=1e-6, random_state=0, noise="fast").fit(X).sums_


def _whole(X: NDArray[np.float64]) -> Any:
    frequencies = np.sqrt(2) * np.random.default_rng(0).standard_normal((8, 512))
    return fourier_features(X, frequencies).sum(axis=0)


def _blocks(rows: int) -> float:
    """Features of one block of rows in their several steps, and the rows themselves a few times."""
    return 2e8 + 40.0 * rows * 8


suite = Growth(
    op="private_fit",
    public=_ours,
    inputs=_inputs,
    sizes=(2_000, 20_000, 200_000),
    quick_size=100,
    peers=(Peer("features of all rows at once, no noise", _whole, largest=20_000, same=False),),
    most_time_exponent=1.1,
    most_memory_exponent=0.6,
    most_bytes=_blocks,
)
