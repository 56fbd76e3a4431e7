"""Σ_i u_i |g_i − y|^p from the leaves of a tree, its variance, and what binning does to it; blocks of O(m) a query."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from normkit.estimators.private.tree import leaf_variance

__all__ = ["power_binning", "power_sums", "power_variance"]

_BLOCK = 2**22  # numbers held at once
_LARGEST = 1e150  # of a power: its square is a number still


def power_sums(
    leaves: Float[ndarray, "m"], centers: Float[ndarray, "m"], y: Float[ndarray, "q"], p: float
) -> Float[ndarray, "q"]:
    """Σ_i u_i |g_i − y|^p for each query."""
    return np.concatenate([_powers(away, p) @ leaves for away in _away(centers, y)])


def power_variance(
    centers: Float[ndarray, "m"], y: Float[ndarray, "q"], p: float, root_known: bool
) -> Float[ndarray, "q"]:
    """Variance of `power_sums` where each node has noise of variance 1."""
    return np.concatenate([leaf_variance(_powers(away, p), root_known) for away in _away(centers, y)])


def power_binning(
    leaves: Float[ndarray, "m"], centers: Float[ndarray, "m"], half: float, y: Float[ndarray, "q"], p: float
) -> Float[ndarray, "q"]:
    """Σ_i u_i b_i, b_i being the most by which |x − y|^p of a row in bin i, g_i ± `half`, differs from |g_i − y|^p."""
    bounds = []
    for away in _away(centers, y):
        taken = _powers(away, p)
        most = np.maximum(_powers(away + half, p) - taken, taken - _powers(np.maximum(away - half, 0.0), p))
        bounds.append(np.maximum(most @ leaves, 0.0))
    return np.concatenate(bounds)


def _powers(away: Float[ndarray, "block m"], p: float) -> Float[ndarray, "block m"]:
    """|g_i − y|^p; ValueError where its square would overflow."""
    with np.errstate(all="ignore"):
        powers = away**p
    if np.any(powers > _LARGEST):
        raise ValueError(
            f"a query is so far from the bounds that |x - y|^p is beyond {_LARGEST:g} with p = {p:g}: give nearer ones"
        )
    return powers


def _away(centers: Float[ndarray, "m"], y: Float[ndarray, "q"]) -> Iterator[Float[ndarray, "block m"]]:
    """|g_i − y| for blocks of queries."""
    step = max(1, _BLOCK // len(centers))
    return (np.abs(centers - y[start : start + step, None]) for start in range(0, len(y), step))
