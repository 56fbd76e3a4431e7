"""Which partial correlations are more than chance: Student's t without shrinkage, permutations with it."""

from typing import Any

import numpy as np
from scipy import stats
from sklearn.utils.parallel import Parallel, delayed

from normkit.estimators._partial_estimate import estimate

__all__ = ["adjusted", "false_discovery_rates", "p_values", "smallest_cutoff"]


def p_values(correlations: np.ndarray, freedom: int) -> np.ndarray:
    """Two-sided p of ρ = 0: t = ρ √(ν/(1 − ρ²)) with ν degrees of freedom."""
    with np.errstate(divide="ignore"):
        t = correlations * np.sqrt(freedom / (1 - correlations**2))
    return 2 * stats.t.sf(np.abs(t), freedom)


def adjusted(p: np.ndarray, tests: int) -> np.ndarray:
    """Benjamini and Hochberg's adjusted p: min over p_j ≥ p_i of p_j·tests/rank_j, at most 1.

    `p` may be the smallest of the `tests` p-values alone; theirs then come out as they would among all, or larger.
    """
    order = np.argsort(p)
    scaled = p[order] * tests / np.arange(1, len(p) + 1)
    result = np.empty_like(p)
    result[order] = np.minimum.accumulate(scaled[::-1])[::-1].clip(max=1)
    return result


def false_discovery_rates(
    observed: np.ndarray, parts: np.ndarray, seeds: np.ndarray, options: tuple[Any, ...], n_jobs: int | None
) -> np.ndarray:
    """The least FDR(c) of a cutoff c that lets each pair in, at most 1.

    FDR(c) = mean number of permuted |ρ| ≥ c over the number of observed |ρ| ≥ c, at every observed c. It may rise with
    c, where few pairs are left; a stronger pair has no larger rate than a weaker one all the same (Storey's q-value).

    Args:
        observed: |ρ| of the pairs.
        parts: the positive table; each column is permuted on its own, once for every seed.
        seeds: of the permutations.
        options: of `estimate`, as for the observed ones, with the intensities that these had: estimated anew, columns
            that share nothing would be shrunk more, and the null distribution would be too narrow.
        n_jobs: processes.
    """
    if not observed.size:
        return observed
    cutoffs = np.sort(observed)
    one = delayed(_permuted_counts)
    counts = Parallel(n_jobs=n_jobs)(one(parts, seed, cutoffs, options) for seed in seeds)
    rates = np.minimum(np.mean(counts, axis=0) / _at_least(cutoffs, cutoffs), 1.0)
    return np.minimum.accumulate(rates)[np.searchsorted(cutoffs, observed)]


def _permuted_counts(parts: np.ndarray, seed: Any, cutoffs: np.ndarray, options: tuple[Any, ...]) -> np.ndarray:
    permuted = np.random.default_rng(seed).permuted(parts, axis=0)
    strengths = np.abs(estimate(permuted, *options).precision.pairs(cutoffs[0])[2])
    return _at_least(strengths, cutoffs)


def _at_least(values: np.ndarray, cutoffs: np.ndarray) -> np.ndarray:
    """How many of `values` are ≥ c, for every c."""
    return len(values) - np.searchsorted(np.sort(values), cutoffs, side="left")


def smallest_cutoff(observed: np.ndarray, rates: np.ndarray, level: float) -> float:
    """The smallest observed |ρ| whose FDR is at most `level`; infinite where there is none."""
    passed = observed[rates <= level]
    return float(passed.min()) if passed.size else np.inf
