"""Ridge regression that is solved again and again for other targets: one factorization, then a product each.

`Spectral` keeps the eigendecomposition and works in the eigenbasis, where a solution costs O(n·c) and the shrinkage of
every direction is seen; `Factored` keeps a Cholesky factor, several times cheaper to make and without them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg

__all__ = ["Factored", "Solution", "Spectral", "factored", "spectral"]

Array = np.ndarray[Any, np.dtype[np.float64]]

_ROUNDING = 1e-6
"""Share of the largest eigenvalue that a negative one may have: that of a kernel computed in float32."""


@dataclass(frozen=True)
class Solution:
    """A ridge regression on some targets: `coefficients` (n, c) and `fitted` values (n, c), in the system's own basis.

    `shrinkage` (n) is B, what is left of each eigen-direction of the *ground truth*; None where it is not known.
    """

    coefficients: Array
    fitted: Array
    shrinkage: Array | None

    def mixed(self, other: "Solution", alpha: float) -> "Solution":
        """alpha · self + (1 − alpha) · other."""
        shrinkage = None
        if self.shrinkage is not None and other.shrinkage is not None:
            shrinkage = alpha * self.shrinkage + (1 - alpha) * other.shrinkage
        coefficients = alpha * self.coefficients + (1 - alpha) * other.coefficients
        return Solution(coefficients, alpha * self.fitted + (1 - alpha) * other.fitted, shrinkage)


@dataclass(frozen=True)
class Spectral:
    """M = V D Vᵀ with the ridge λ: targets Vᵀ t, coefficients (D + λ)⁻¹ Vᵀ t, fitted values D (D + λ)⁻¹ Vᵀ t.

    M is the kernel K of the training points, or the Gram matrix ZᵀZ of their features Z; then t stands for Zᵀ t.
    """

    eigenvalues: Array
    eigenvectors: Array
    ridge: float

    def targets(self, values: Array) -> Array:
        """In the eigenbasis."""
        return self.eigenvectors.T @ values

    def solve(self, targets: Array, before: Array | None = None) -> Solution:
        """For targets that are themselves the ground truth shrunk by `before` (None: the ground truth)."""
        inverse = 1 / (self.eigenvalues + self.ridge)
        kept = self.eigenvalues * inverse
        coefficients = inverse[:, None] * targets
        return Solution(
            coefficients, self.eigenvalues[:, None] * coefficients, kept if before is None else kept * before
        )

    def with_ridge(self, ridge: float) -> "Spectral":
        """The same matrix with another ridge."""
        return Spectral(self.eigenvalues, self.eigenvectors, ridge)

    def to_samples(self, coefficients: Array) -> Array:
        """Back from the eigenbasis."""
        return self.eigenvectors @ coefficients

    def in_basis(self, rows: Array) -> Array:
        """Rows k(x)ᵀ, ready to be multiplied by coefficients."""
        return rows @ self.eigenvectors


@dataclass(frozen=True)
class Factored:
    """K + λ I = L Lᵀ; the basis is that of the samples."""

    factor: Any
    ridge: float

    def targets(self, values: Array) -> Array:
        """As they are."""
        return values

    def solve(self, targets: Array, before: Array | None = None) -> Solution:
        """K (K + λ)⁻¹ t is t − λ (K + λ)⁻¹ t: the kernel itself is not needed any more.

        Raises:
            ValueError: the fitted values are larger than the targets, which no semidefinite kernel makes them.
        """
        coefficients = self.factor(targets)
        fitted = targets - self.ridge * coefficients
        grown, size = (np.square(each).sum(axis=0) for each in (fitted, targets))
        if (grown > (1 + _ROUNDING) * size).any():
            raise ValueError(_indefinite(self.ridge, ": its fitted values are larger than their targets"))
        return Solution(coefficients, fitted, None)

    def to_samples(self, coefficients: Array) -> Array:
        """As they are."""
        return coefficients

    def in_basis(self, rows: Array) -> Array:
        """As they are."""
        return rows


def spectral(matrix: Array, ridge: float, device: str | None) -> Spectral:
    """The eigendecomposition of a symmetric matrix, which is overwritten; on a torch device where one is named.

    Raises:
        ValueError: the matrix holds NaN or infinities, or is not positive semidefinite: an eigenvalue D below −λ/2 has
            |D/(D + λ)| > 1, which every round multiplies by.
    """
    _check_finite(matrix)
    if device is None:
        # the transpose is the same matrix in LAPACK's order: no copy
        values, vectors = linalg.eigh(matrix.T, overwrite_a=True, check_finite=False, driver="evd")
    else:
        import torch

        found = torch.linalg.eigh(torch.from_numpy(matrix).to(device))
        values, vectors = (each.cpu().numpy() for each in found)
    if values[0] < -_ROUNDING * np.abs(values).max() or values[0] <= -ridge / 2:
        detail = f": its smallest eigenvalue is {values[0]:.3g}, the largest {values[-1]:.3g}"
        raise ValueError(_indefinite(ridge, detail))
    return Spectral(values, vectors, ridge)


def factored(matrix: Array, ridge: float, device: str | None) -> Factored:
    """The Cholesky factor of M + λ I; M is overwritten. On a torch device where one is named.

    Raises:
        ValueError: the matrix holds NaN or infinities, or M + λ I is not positive definite. A kernel that is a little
            less indefinite than that is found by `Factored.solve`, as soon as it makes something grow.
    """
    _check_finite(matrix)
    matrix.flat[:: len(matrix) + 1] += ridge
    try:
        if device is None:
            factor = linalg.cho_factor(matrix.T, lower=True, overwrite_a=True, check_finite=False)
            return Factored(lambda targets: linalg.cho_solve(factor, targets, check_finite=False), ridge)
        import torch

        lower = torch.linalg.cholesky(torch.from_numpy(matrix).to(device))
    except (linalg.LinAlgError, RuntimeError) as error:
        raise ValueError(_indefinite(ridge, f" ({error})")) from error

    def solve(targets: Array) -> Array:
        return torch.cholesky_solve(torch.from_numpy(targets).to(device), lower).cpu().numpy()

    return Factored(solve, ridge)


def _check_finite(matrix: Array) -> None:
    if not np.isfinite(matrix.sum()):  # a sum costs no second matrix
        raise ValueError("the kernel holds NaN or infinite values: check the kernel function or the scale of X")


def _indefinite(ridge: float, detail: str) -> str:
    return (
        f"the kernel is not positive semidefinite{detail}. With lam={ridge:g} rounds can grow without an end: take a "
        "positive semidefinite kernel, or a larger lam where only rounding makes it negative"
    )
