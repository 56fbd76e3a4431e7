"""The precision matrix P of centred log-ratios as a factor, P = diag(d) ± FᵀF, and partial correlations from it.

For D parts and N samples the factor has at most max(N + 1, D) rows and usually min(N, D), so that for D ≫ N no D×D
array is formed unless it is asked for; blocks of rows are enough for the pairs above a cutoff.

If C is a non-singular basis covariance, Ω = C⁻¹ and Γ = G C G with G = I − 11ᵀ/D, then exactly

    Γ⁺ = Ω − Ω 1 1ᵀ Ω / (1ᵀ Ω 1)

and for C = S (diag(λ) + UᵀU) S Woodbury's identity gives Ω = S⁻¹ (diag(1/λ) − VᵀV) S⁻¹ with N rows in V.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from normkit.estimators._arrays import Array, as_numpy, namespace
from normkit.estimators.shrinkage import ShrunkColumns

__all__ = ["Precision", "double_centred", "pseudo_inverse", "shrunk_precision", "symmetric"]

_EPSILON = 2.22e-16
_BLOCK = 1 << 22
"""Numbers in a block of rows, so 32 MB."""


@dataclass(frozen=True)
class Precision:
    """P = diag(d) + sign·FᵀF with `ridge` d (D,), `factor` F (R, D) and `sign` ±1."""

    ridge: Array
    factor: Array
    sign: int

    def diagonal(self) -> Array:
        """P_ii, (D,)."""
        return self.ridge + self.sign * (self.factor * self.factor).sum(0)

    def dense(self) -> Array:
        """P, (D, D)."""
        return self.sign * (self.factor.T @ self.factor) + namespace(self.ridge).diag(self.ridge)

    def correlation_blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """ρ_ij = −P_ij/√(P_ii P_jj) on and above the diagonal, in blocks: a first row s, and its columns from s on.

        The diagonal is 1; ρ is 0 where P_ii is not positive.
        """
        xp = namespace(self.factor)
        own = self.diagonal()
        defined = own > 0
        scaled = xp.where(defined, self.factor / xp.sqrt(xp.where(defined, own, 1.0)), 0.0)
        parts = scaled.shape[1]
        height = max(64, _BLOCK // parts)
        for start in range(0, parts, height):
            here = scaled[:, start : start + height]
            block = as_numpy((-self.sign * (here.T @ scaled[:, start:])).clip(-1.0, 1.0))
            np.fill_diagonal(block, 1.0)
            yield start, block

    def correlation(self) -> np.ndarray:
        """ρ, (D, D), symmetric, 1 on the diagonal."""
        parts = self.factor.shape[1]
        result = np.empty((parts, parts))
        for start, block in self.correlation_blocks():
            stop = start + len(block)
            own = block[:, : len(block)]
            own[...] = np.triu(own) + np.triu(own, 1).T
            result[start:stop, start:] = block
            result[start:, start:stop] = block.T
        return result

    def pairs(self, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """i < j and ρ_ij of the pairs with |ρ_ij| ≥ cutoff; memory as their number."""
        found = []
        for start, block in self.correlation_blocks():
            row, column = np.nonzero(np.triu(np.abs(block) >= cutoff, 1))
            found.append((row + start, column + start, block[row, column]))
        first, second, values = (np.concatenate(each) for each in zip(*found, strict=True))
        return first, second, values

    def strongest(self) -> float:
        """The largest |ρ_ij| of a pair."""
        return max(float(np.abs(np.triu(block, 1)).max()) for _, block in self.correlation_blocks())


def pseudo_inverse(rows: Array) -> Precision:
    """(rowsᵀ rows)⁺ of (N, D): eigenvalues of at most D·λ_max·2.22e-16 count as 0 (the rule of corpcor)."""
    xp = namespace(rows)
    samples, parts = rows.shape
    if samples < parts:  # the same eigenvectors, without a D×D array
        _, singular, vectors = xp.linalg.svd(rows, full_matrices=False)
        values = singular * singular
    else:
        values, columns = xp.linalg.eigh(rows.T @ rows)
        vectors = columns.T
    return _from_eigen(values, vectors)


def shrunk_precision(columns: ShrunkColumns, *, centred: bool) -> Precision:
    """Γ⁺ of Γ = G C* G (`centred`), or the inverse of C* itself."""
    parts = columns.variances.shape[0]
    regular = columns.shrinkage > parts * _EPSILON and bool((columns.variances > 0).all())
    if not regular:
        return _singular(columns, centred=centred)
    if len(columns.standardized) < parts:
        return _by_woodbury(columns, centred=centred)
    return _by_cholesky(columns, centred=centred)


def _by_woodbury(columns: ShrunkColumns, *, centred: bool) -> Precision:
    xp = namespace(columns.variances)
    ridge, rows = columns.ridge, columns.rows
    # (I + U diag(1/λ) Uᵀ)⁻¹ = Q diag(1/(1 + e)) Qᵀ, of size N
    values, vectors = xp.linalg.eigh((rows / ridge) @ rows.T)
    inner = (vectors / xp.sqrt(1 + values)).T @ (rows / ridge)
    factor = inner / columns.deviations
    inverse = Precision(1 / (ridge * columns.variances), factor, -1)
    if not centred:
        return inverse
    total = inverse.ridge - factor.T @ factor.sum(1)  # Ω 1
    return Precision(inverse.ridge, xp.vstack([factor, total / xp.sqrt(total.sum())]), -1)


def _by_cholesky(columns: ShrunkColumns, *, centred: bool) -> Precision:
    xp = namespace(columns.variances)
    lower = xp.linalg.cholesky(columns.correlation())
    factor = xp.linalg.inv(lower) / columns.deviations  # Ω = FᵀF
    if centred:  # P = FᵀF − Ω11ᵀΩ/1ᵀΩ1 = Fᵀ(I − uuᵀ)F with u along F1
        along = factor.sum(1)
        along = along / xp.sqrt((along * along).sum())
        factor = factor - along[:, None] * (along @ factor)
    return Precision(0.0 * columns.variances, factor, 1)


def _singular(columns: ShrunkColumns, *, centred: bool) -> Precision:
    """No intensity above 0, or a variance of 0: the pseudo-inverse, as without shrinkage."""
    xp = namespace(columns.variances)
    if bool((columns.ridge == 0).all()):
        rows = columns.rows * columns.deviations
        return pseudo_inverse(rows - rows.mean(1)[:, None] if centred else rows)
    covariance = columns.covariance()
    values, vectors = xp.linalg.eigh(double_centred(covariance) if centred else covariance)
    return _from_eigen(values, vectors.T)


def _from_eigen(values: Array, vectors: Array) -> Precision:
    """Σ_k v_k v_kᵀ/λ_k over the eigenvalues that count; `vectors` in rows."""
    xp = namespace(values)
    kept = values > vectors.shape[1] * float(values.max()) * _EPSILON
    factor = vectors[kept] / xp.sqrt(values[kept])[:, None]
    return Precision(xp.zeros_like(vectors[0]), factor, 1)


def double_centred(matrix: Array) -> Array:
    """G M G of a symmetric (D, D)."""
    mean = matrix.mean(0)
    return matrix - mean - mean[:, None] + mean.mean()


def symmetric(first: np.ndarray, second: np.ndarray, values: np.ndarray, diagonal: np.ndarray) -> Any:
    """The sparse matrix with `values` at (i, j) and (j, i), i < j, and this diagonal."""
    size = len(diagonal)
    upper = sparse.coo_array((values, (first, second)), shape=(size, size)).tocsr()
    return (upper + upper.T + sparse.diags_array(diagonal)).tocsr()
