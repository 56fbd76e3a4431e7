"""Covariance of few samples in many variables, shrunk: correlations towards 0, variances towards their median.

With centred columns b_k, their variances v_k = Σ_s b_sk²/(N − 1) and standardised columns x_k = b_k/√v_k:

    C*   = diag(√v*) R* diag(√v*)
    v*_k = λ_v median(v) + (1 − λ_v) v_k          R*_ij = (1 − λ) r_ij off the diagonal, 1 on it
    λ    = Σ_{i≠j} var(r_ij) / Σ_{i≠j} r_ij²      λ_v   = Σ_k var(v_k) / Σ_k (v_k − median(v))²

each λ estimated from the data and kept in [0, 1]; correlations are standardised by the variances before shrinkage. A
column that is constant has variance 0, correlation 0 with all others and 1 with itself.

Nothing here forms a D×D array but `covariance`: R* = diag(λ) + UᵀU with U of shape (N, D).

Source: J. Schäfer and K. Strimmer (2005), A Shrinkage Approach to Large-Scale Covariance Matrix Estimation, Statistical
Applications in Genetics and Molecular Biology 4:32; R. Opgen-Rhein and K. Strimmer (2007), same journal 6:9, for the
variances. For compositions: S. Jin, C. Notredame, I. Erb (2022), arXiv:2212.00496: shrink the covariance of the log
proportions (the basis), since log-ratios are dependent by construction.
"""

import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from normkit.estimators._arrays import Array, namespace
from normkit.estimators._parts import framed
from normkit.estimators.zeros import replace_zeros

__all__ = ["Shrunk", "ShrunkColumns", "basis_shrinkage_covariance", "shrink_columns", "shrink_covariance"]

CONSTANT = 2.2e-16
"""A variance below it is rounding, and counts as 0."""


class Shrunk(NamedTuple):
    """A covariance matrix C* (D, D), a DataFrame where X was one; λ of its correlations, λ_v of its variances."""

    covariance: Any
    shrinkage: float
    variance_shrinkage: float


def shrink_covariance(X: ArrayLike) -> Shrunk:
    """C* of the columns of any table, with the intensities λ and λ_v.

    Args:
        X: (N, D) real numbers, N ≥ 2, in a unit in which variances are far above 2.2e-16: one below it counts as 0,
            whatever the other columns do (the rule of corpcor). A warning is given where that befalls all of them.

    Returns:
        `covariance` (D, D) in the squared units of X, positive definite where λ and all shrunk variances are above 0;
        `shrinkage` λ and `variance_shrinkage` λ_v in [0, 1]. Unpacks as a tuple.

    Raises:
        ValueError: not a table, a value that is not finite, or fewer than 2 samples.
    """
    table = np.asarray(X, dtype=np.float64)
    if table.ndim != 2 or len(table) < 2 or table.shape[1] < 1:
        raise ValueError(f"a table of shape {table.shape} came: at least 2 samples in rows, (N, D), are wanted")
    if not np.isfinite(table).all():
        raise ValueError("a value is not finite: leave the sample out, or fill it in")
    columns = shrink_columns(table)
    if columns.constant.all() and (np.ptp(table, axis=0) > 0).any():
        warnings.warn(
            f"every variance is below {CONSTANT} and counts as 0: give the columns in a smaller unit, such as X·1e6",
            stacklevel=2,
        )
    return Shrunk(framed(columns.covariance(), X), columns.shrinkage, columns.variance_shrinkage)


def basis_shrinkage_covariance(X: ArrayLike, zeros: Any = "error") -> Shrunk:
    """C* of the log proportions of compositions: what partial correlations of few samples are computed from.

    Args:
        X: (N, D) positive parts, N ≥ 2; each row is divided by its total first, which matters here.
        zeros: rule for zeros, see `replace_zeros`.

    Returns:
        As `shrink_covariance`, in squared nats.

    Raises:
        ValueError: as `shrink_covariance` and `replace_zeros`: log-ratios, which may be negative, are refused.
    """
    found = shrink_covariance(log_proportions(np.asarray(replace_zeros(X, zeros))))
    return found._replace(covariance=framed(found.covariance, X))


def log_proportions(parts: Float[np.ndarray, "samples parts"]) -> Float[np.ndarray, "samples parts"]:
    """log(x / Σ x) of every row, in logarithms throughout: a proportion may underflow."""
    logs = np.log(parts)
    proportions: np.ndarray = logs - logsumexp(logs, axis=1, keepdims=True)
    return proportions


@dataclass(frozen=True)
class ShrunkColumns:
    """C* in pieces of size N·D: the standardised columns, the shrunk variances and the intensities.

    Attributes:
        standardized: (N, D) x_k, zeros where a column is constant.
        variances: (D,) v*.
        constant: (D,) whether a column is constant.
        shrinkage, variance_shrinkage: λ and λ_v.
    """

    standardized: Array
    variances: Array
    constant: Array
    shrinkage: float
    variance_shrinkage: float

    @property
    def ridge(self) -> Array:
        """diag(R* − UᵀU), (D,): λ, and 1 where a column is constant."""
        xp = namespace(self.variances)
        return xp.where(self.constant, 1.0, self.shrinkage + 0.0 * self.variances)

    @property
    def rows(self) -> Array:
        """U = √(1 − λ) x/√(N − 1), (N, D)."""
        return self.standardized * ((1 - self.shrinkage) / (len(self.standardized) - 1)) ** 0.5

    @property
    def deviations(self) -> Array:
        """√v*, (D,)."""
        return namespace(self.variances).sqrt(self.variances)

    def correlation(self) -> Array:
        """R*, (D, D)."""
        xp = namespace(self.variances)
        rows = self.rows
        return rows.T @ rows + xp.diag(self.ridge)

    def covariance(self) -> Array:
        """C*, (D, D)."""
        return self.correlation() * self.deviations[:, None] * self.deviations


def shrink_columns(
    table: Array, shrinkage: float | None = None, variance_shrinkage: float | None = None
) -> ShrunkColumns:
    """Centre, standardise and shrink the columns of (N, D); λ and λ_v are estimated where they are None."""
    xp = namespace(table)
    samples = len(table)
    centred = table - table.mean(0)
    variances = (centred * centred).sum(0) / (samples - 1)
    constant = variances < CONSTANT
    variances = xp.where(constant, 0.0, variances)
    standardized = xp.where(constant, 0.0, centred / xp.sqrt(xp.where(constant, 1.0, variances)))
    strength, target = _variance_shrinkage(centred, variances)
    strength = strength if variance_shrinkage is None else float(variance_shrinkage)
    chosen = _correlation_shrinkage(standardized) if shrinkage is None else float(shrinkage)
    return ShrunkColumns(standardized, strength * target + (1 - strength) * variances, constant, chosen, strength)


def _variance_shrinkage(centred: Array, variances: Array) -> tuple[float, Array]:
    """λ_v and the median of the variances."""
    xp = namespace(centred)
    samples = len(centred)
    target = xp.quantile(variances, 0.5)
    squares = centred * centred
    first = squares.mean(0)
    spread = ((squares - first) ** 2).mean(0).sum()  # mean b⁴ − (mean b²)², without its cancellation
    # The moments divide by N, so the target does too.
    distance = ((first - target * (samples - 1) / samples) ** 2).sum()
    return _intensity(float(spread), float(distance), samples), target


def _correlation_shrinkage(standardized: Array) -> float:
    """λ in O(N D min(N, D)): Σ_{i≠j} r_ij² is the squared norm of the smaller Gram matrix without its diagonal."""
    samples, columns = standardized.shape
    squares = standardized * standardized
    wide = columns > samples
    gram = (standardized @ standardized.T if wide else standardized.T @ standardized) / samples
    own = squares.mean(0)
    between = float((gram * gram).sum() - (own * own).sum())
    products = float((squares.sum(1) ** 2).mean() - (squares * squares).mean(0).sum())
    return _intensity(products - between, between, samples)


def _intensity(spread: float, distance: float, samples: int) -> float:
    return 1.0 if distance <= 0 else min(1.0, max(0.0, spread / distance / (samples - 1)))
