"""The first stage with infinitely many units: kernel ridge with κ(x, z) = E σ₁(vᵀx) σ₁(vᵀz), v on the unit sphere.

κ is a polynomial in ‖x‖², ‖z‖² and xᵀz, and with x̂ the monomials of x it is x̂ᵀ M ẑ, M_αβ = ω_α ω_β E v^{α+β}. Both are
summed exactly, and whichever is smaller is used: the kernel of the samples, or the monomials times R with RᵀR = M.

Source: the limit of infinite width of the first stage in Wang, Nichani, Lee 2024, arXiv:2311.13774, section 3; ours.
"""

from dataclasses import dataclass
from functools import cache
from math import factorial, prod, sqrt
from typing import Any

import numpy as np

from normkit.estimators._layerwise import Descent, Fitted, Sample, blocks, by_features, by_samples, centred
from normkit.estimators._layerwise_algebra import Algebra
from normkit.estimators._monomials import count, monomials, unit_moments

__all__ = ["InfiniteUnits"]


@dataclass(frozen=True)
class InfiniteUnits:
    """ĝ by its coefficients at the monomials, or at the `samples` where these are fewer."""

    samples: Any
    degree: int
    center: bool
    algebra: Algebra

    def fit(self, sample: Sample, decay: float | str, descent: Descent | None) -> Fitted:
        """The coefficients, of the samples or of the monomials."""
        if self.samples is not None:
            rows = blocks(len(sample.X), len(sample.X))
            kernel = self.algebra.rows([self.kernel(sample.X[part], sample.X) for part in rows])
            return Fitted(*by_samples(kernel, sample, decay, self.algebra, descent, self.center))
        d, width = sample.X.shape[1], count(sample.X.shape[1], self.degree)
        values, vectors = np.linalg.eigh(unit_moments(d, self.degree))
        R = self.algebra.array(np.sqrt(values.clip(min=0))[:, None] * vectors.T)
        features = centred(self._monomials, sample, width, self.center)
        beta, decay = by_features(features, sample, width, decay, self.algebra, descent, mix=R)
        return Fitted(R.T @ beta, decay)

    def polynomial(self, coefficients: Any) -> Any:
        """ĝ's coefficients at the monomials."""
        if self.samples is None:
            return coefficients
        moments = self.algebra.array(unit_moments(self.samples.shape[1], self.degree))
        return moments @ (self._monomials(self.samples).T @ coefficients)

    def value(self, X: Any, coefficients: Any) -> Any:
        """ĝ(X)."""
        features = self._monomials if self.samples is None else lambda part: self.kernel(part, self.samples)
        return self.algebra.rows([features(X[rows]) @ coefficients for rows in blocks(len(X), len(coefficients))])

    def kernel(self, X: Any, Z: Any) -> Any:
        """κ(x, z) for all pairs."""
        lengths = (X**2).sum(1)[:, None], (Z**2).sum(1)[None, :]
        product = X @ Z.T
        total = self.algebra.zeros(len(X), len(Z))
        for (left, right, both), factor in _terms(self.degree, X.shape[1]).items():
            total += factor * lengths[0] ** left * lengths[1] ** right * product**both
        return total

    def _monomials(self, X: Any) -> Any:
        return monomials(X, self.degree, self.algebra)


@cache
def _terms(degree: int, d: int) -> dict[tuple[int, int, int], float]:
    """κ as {(i, j, l): factor} of the monomials ‖x‖^2i ‖z‖^2j (xᵀz)^l.

    σ₁'s coefficients at the powers t^p meet the moments E (vᵀx)^p (vᵀz)^q. These are the Gaussian ones, a sum over the
    pairings of p + q factors of which l join an x with a z, over d (d + 2) … (d + p + q − 2).
    """
    hermite = np.polynomial.hermite_e.herme2poly([1 / sqrt(factorial(j)) for j in range(degree + 1)])
    terms: dict[tuple[int, int, int], float] = {}
    for p in range(degree + 1):
        for q in range(p % 2, degree + 1, 2):
            shrink = prod(d + 2 * step for step in range((p + q) // 2))
            for both in range(p % 2, min(p, q) + 1, 2):
                left, right = (p - both) // 2, (q - both) // 2
                pairings = factorial(p) * factorial(q) / (factorial(both) * factorial(left) * factorial(right))
                factor = float(hermite[p] * hermite[q]) * pairings / 2 ** (left + right) / shrink
                key = (left, right, both)
                terms[key] = terms.get(key, 0.0) + factor
    return terms
