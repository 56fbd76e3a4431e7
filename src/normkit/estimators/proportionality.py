"""Pairwise measures of compositions: log-ratio variance and proportionality, beside which partial correlations stand.

With Γ the covariance of clr coordinates z (N − 1 in the denominator):

    τ_ij   = var(log x_i/x_j) = Γ_ii + Γ_jj − 2 Γ_ij
    ρ_p,ij = 1 − τ_ij/(Γ_ii + Γ_jj)          φ_ij = τ_ij/Γ_ii          φ_s,ij = τ_ij/var(z_i + z_j)

Source: D. Lovell et al. (2015), Proportionality: A Valid Alternative to Correlation for Relative Data, PLOS
Computational Biology 11; I. Erb and C. Notredame (2016), How Should We Measure Proportionality on Relative Gene
Expression Data?, Theory in Biosciences 135; T. Quinn et al. (2017), propr, Scientific Reports 7.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from normkit.estimators._parts import framed
from normkit.estimators.compositions import clr

__all__ = ["logratio_variance", "proportionality"]

MEASURES = ("rho_p", "phi", "phi_s")


def logratio_variance(X: ArrayLike) -> Any:
    """τ_ij = var(log x_i/x_j), in squared nats; 0 where two parts are proportional to each other.

    Args:
        X: (N, D) positive parts, N ≥ 2.

    Returns:
        (D, D), symmetric, zeros on the diagonal; a DataFrame with the parts as rows and columns where X is one.

    Raises:
        ValueError: a part is zero, negative or not finite, or fewer than 2 samples.
    """
    return framed(_variation(_covariance(X)), X)


def proportionality(X: ArrayLike, measure: Any = "rho_p") -> Any:
    """Proportionality of every two parts.

    Args:
        X: (N, D) positive parts, N ≥ 2.
        measure: "rho_p" (in [−1, 1], 1 where proportional), "phi" (≥ 0, 0 where proportional, not symmetric: divided by
            the variance of the row's part) or "phi_s" (≥ 0, symmetric).

    Returns:
        (D, D); NaN where a part's centred log-ratio is constant; a DataFrame where X is one.

    Raises:
        ValueError: an unknown measure, or as `logratio_variance`.
    """
    if not isinstance(measure, str) or measure not in MEASURES:
        raise ValueError(f"measure is {measure!r}: it must be one of {', '.join(map(repr, MEASURES))}")
    return framed(_proportionality(_covariance(X), measure), X)


def _proportionality(covariance: np.ndarray, measure: str) -> np.ndarray:
    own, variation = np.diag(covariance), _variation(covariance)
    with np.errstate(divide="ignore", invalid="ignore"):
        if measure == "phi":
            return variation / own[:, None]
        if measure == "phi_s":
            return variation / (own[:, None] + own + 2 * covariance)
        return 1 - variation / (own[:, None] + own)


def _variation(covariance: np.ndarray) -> np.ndarray:
    own = np.diag(covariance)
    return np.maximum(own[:, None] + own - 2 * covariance, 0.0)


def _covariance(X: ArrayLike) -> np.ndarray:
    coordinates = clr(np.asarray(X, dtype=np.float64))
    if coordinates.ndim != 2 or len(coordinates) < 2:
        raise ValueError(f"a table of shape {coordinates.shape} came: at least 2 samples in rows, (N, D), are wanted")
    return np.atleast_2d(np.cov(coordinates, rowvar=False))
