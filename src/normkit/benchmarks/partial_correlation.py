"""Partial correlations of 500 samples as parts are added: memory as the table, not as the square of its columns.

The pairs above a cutoff, shrunk, from 200 parts to a transcriptome of 20,000, of which each depends on one other. Where
D ≫ N a shrunk ρ falls as 1/D, so the cutoff does; it keeps about D/2 pairs. The usual way goes through D × D arrays:
a pseudo-inverse of the covariance of the same shrinkage, or of scikit-learn's Ledoit-Wolf estimate (another shrinkage,
there for its cost).
"""

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.covariance import LedoitWolf

from normkit import data
from normkit.benchmarks._harness.growth import Growth
from normkit.benchmarks._harness.suite import Peer
from normkit.estimators import PartialCorrelation, basis_shrinkage_covariance, closure

__all__ = ["suite"]

_SAMPLES = 500


def _inputs(parts: int, generator: np.random.Generator) -> tuple[np.ndarray]:
    return (data.paired_compositions(_SAMPLES, parts, seed=int(generator.integers(2**31))),)


def _cutoff(parts: int) -> float:
    return min(0.2, 200 / parts)


def _ours(X: np.ndarray) -> Any:
    return PartialCorrelation(shrinkage="basis", cutoff=_cutoff(X.shape[1])).fit(X).partial_correlation_


def _dense(X: np.ndarray) -> np.ndarray:
    return _above(basis_shrinkage_covariance(X).covariance)


def _ledoit_wolf(X: np.ndarray) -> np.ndarray:
    return _above(LedoitWolf().fit(np.log(closure(X))).covariance_)


def _above(covariance: np.ndarray) -> np.ndarray:
    """ρ by the pseudo-inverse of G C G, 0 below the cutoff."""
    centred = covariance - covariance.mean(0)
    centred = centred - centred.mean(1)[:, None]
    precision = np.linalg.pinv(centred, hermitian=True)
    scale = np.sqrt(np.diag(precision))
    found = -precision / np.outer(scale, scale)
    np.fill_diagonal(found, 1.0)
    found[np.abs(found) < _cutoff(len(found))] = 0.0
    return found


def _table(found: Any) -> np.ndarray:
    dense: np.ndarray = found.toarray() if sparse.issparse(found) else found
    return dense


def _few_tables(parts: int) -> float:
    """Six arrays of the table's size, and 128 MiB for blocks of rows and what a process allocates besides."""
    return 6 * 8.0 * _SAMPLES * parts + 2**27


suite = Growth(
    op="partial_correlation",
    public=_ours,
    inputs=_inputs,
    sizes=(200, 2_000, 20_000),
    quick_size=40,
    peers=(Peer("dense", _dense, largest=2_000), Peer("LedoitWolf", _ledoit_wolf, largest=2_000, same=False)),
    tolerance=1e-9,
    results=_table,
    most_memory_exponent=1.2,
    most_bytes=_few_tables,
)
