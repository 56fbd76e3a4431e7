"""The first stage of the layer-wise network: least squares over random polynomial units, Φ = σ₁(X Vᵀ)/√m₂.

All units are polynomials of degree k, and the dimension of these is C(d+k, k): a sixth of the usual m₂ = 3 d² for
k = 2. With X̂ the monomials of X, Φ = X̂ Aᵀ and A = Q R, so that Φ = X̂ Rᵀ Qᵀ. As Q has orthonormal columns, u = Q β,
where β is the solution, and each step of the descent, for the features X̂ Rᵀ.

Source: Wang, Nichani, Lee 2024, arXiv:2311.13774, section 3; the monomials are ours.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Any

from normkit.estimators._layerwise import Descent, Fitted, Sample, blocks, by_features, by_samples, centred
from normkit.estimators._layerwise_algebra import Algebra
from normkit.estimators._monomials import count, monomials, power_weights

__all__ = ["RandomUnits"]


@dataclass(frozen=True)
class RandomUnits:
    """σ₁(V x)/√m₂ with m₂ rows of V."""

    V: Any
    degree: int
    center: bool
    algebra: Algebra

    @property
    def monomials(self) -> int:
        """How many there are."""
        return count(self.V.shape[1], self.degree)

    def fit(self, sample: Sample, decay: float | str, descent: Descent | None) -> Fitted:
        """u, from whichever of units, monomials and samples are fewest."""
        width, algebra = len(self.V), self.algebra
        if len(sample.X) < min(width, self.monomials):
            return self._fit_by_samples(sample, decay, descent)
        if width <= self.monomials:
            features = centred(self.hidden, sample, width, self.center)
            return Fitted(*by_features(features, sample, width, decay, algebra, descent))
        Q, R = algebra.qr(self._units_in_monomials())
        features = centred(self._monomials, sample, self.monomials, self.center)
        beta, decay = by_features(features, sample, self.monomials, decay, algebra, descent, mix=R)
        return Fitted(Q @ beta, decay)

    def polynomial(self, u: Any) -> Any:
        """ĝ's coefficients at the monomials."""
        return self._units_in_monomials().T @ u

    def _fit_by_samples(self, sample: Sample, decay: float | str, descent: Descent | None) -> Fitted:
        width = len(self.V)
        beta, decay = by_samples(self._kernel(sample.X), sample, decay, self.algebra, descent, self.center)
        parts = [self._hidden(sample.X, units).T @ beta for units in blocks(width, len(sample.X))]
        return Fitted(self.algebra.rows(parts), decay)

    def value(self, X: Any, u: Any) -> Any:
        """ĝ(X)."""
        if self.monomials < len(self.V):
            w = self.polynomial(u)
            return self.algebra.rows([self._monomials(X[rows]) @ w for rows in blocks(len(X), self.monomials)])
        return self.algebra.rows([self.hidden(X[rows]) @ u for rows in blocks(len(X), len(self.V))])

    def hidden(self, X: Any) -> Any:
        """σ₁(X Vᵀ)/√m₂."""
        return self._hidden(X, slice(None))

    def _monomials(self, X: Any) -> Any:
        return monomials(X, self.degree, self.algebra)

    def _units_in_monomials(self) -> Any:
        """A (m₂, monomials) with σ₁(V x)/√m₂ = A x̂."""
        weights = self.algebra.array(power_weights(self.V.shape[1], self.degree))
        return self._monomials(self.V) * weights / sqrt(len(self.V))

    def _hidden(self, X: Any, units: slice) -> Any:
        return self.algebra.polynomial(X @ self.V[units].T, self.degree) / sqrt(len(self.V))

    def _kernel(self, X: Any) -> Any:
        total = self.algebra.zeros(len(X), len(X))
        for units in self.algebra.own(blocks(len(self.V), len(X))):
            part = self._hidden(X, units)
            total += part @ part.T
        return self.algebra.total(total)
