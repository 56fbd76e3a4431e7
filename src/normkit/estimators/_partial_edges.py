"""Which pairs of a fitted `PartialCorrelation` are edges: by a test, by permutations or by a bound of |ρ|."""

import warnings
from typing import Any

import numpy as np
from scipy import sparse

from normkit.estimators._partial_options import check_cutoff
from normkit.estimators._significance import adjusted, p_values

__all__ = ["edges_of", "kept_pairs", "why_untested"]


def edges_of(fitted: Any, cutoff: Any) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """i < j of the edges, strongest first, and their figures by name; see `PartialCorrelation.edges`.

    Raises:
        ValueError: no test and no cutoff, one that is none, or one below that of the fit.
    """
    first, second, values = kept_pairs(fitted)
    strength = np.abs(values)
    columns = {"partial_correlation": values, **_tests(fitted, values)}
    if cutoff is not None:
        _check_kept(fitted, cutoff)
        kept = strength >= cutoff
    elif fitted.fdr_cutoff_ is not None:
        kept = strength >= fitted.fdr_cutoff_
    elif fitted.degrees_of_freedom_ is not None:
        kept = columns["p_adjusted"] <= fitted.fdr
        _warn_of_missing(fitted, kept)
    else:
        raise ValueError(
            "these correlations have no t-test: fit with n_permutations=100, or pass edges(cutoff=…) a bound of "
            f"|ρ|, of which the strongest is {strength.max(initial=0.0):.2g}"
        )
    chosen = np.flatnonzero(kept)[np.argsort(-strength[kept], kind="stable")]
    return first[chosen], second[chosen], {name: each[chosen] for name, each in columns.items()}


def kept_pairs(fitted: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """i < j and ρ_ij of the pairs that were kept and are defined, row after row."""
    if sparse.issparse(fitted.partial_correlation_):
        upper = sparse.triu(fitted.partial_correlation_, 1).tocsr().tocoo()
        return upper.row, upper.col, upper.data
    first, second = np.triu_indices(fitted.n_features_in_, 1)
    values = fitted.partial_correlation_[first, second]
    defined = ~np.isnan(values)
    return first[defined], second[defined], values[defined]


def why_untested(fitted: Any) -> str:
    """Why `p_values_` is None."""
    if fitted.degrees_of_freedom_ is not None:
        return "cutoff= keeps some pairs alone, and edges() gives theirs; fit with cutoff=None"
    if fitted.shrinkage_ or fitted.variance_shrinkage_:
        return "shrunk correlations have no t-test; fit with n_permutations=100 and see edges()"
    return "too few samples for so many parts, or parts that are tied to each other (fit warned of it)"


def _tests(fitted: Any, values: np.ndarray) -> dict[str, np.ndarray]:
    if fitted.fdr_cutoff_ is not None:
        return {"fdr": fitted._rates}
    if fitted.degrees_of_freedom_ is None:
        return {}
    p = p_values(values, fitted.degrees_of_freedom_)
    return {"p_value": p, "p_adjusted": adjusted(p, fitted.n_features_in_ * (fitted.n_features_in_ - 1) // 2)}


def _check_kept(fitted: Any, cutoff: Any) -> None:
    check_cutoff(cutoff)
    if fitted.cutoff is not None and cutoff < fitted.cutoff:
        raise ValueError(
            f"edges(cutoff={cutoff!r}): fit kept only |ρ| ≥ {fitted.cutoff!r}; fit with a cutoff that is as small"
        )


def _warn_of_missing(fitted: Any, passed: np.ndarray) -> None:
    if sparse.issparse(fitted.partial_correlation_) and passed.size and passed.all():
        warnings.warn(
            f"all {passed.size} pairs of |ρ| ≥ {fitted.cutoff!r} pass the test, so weaker ones may as well: fit with "
            "a smaller cutoff to see them",
            stacklevel=4,
        )
