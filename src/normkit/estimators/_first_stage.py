"""The first stage of the layer-wise network: ĝ by least squares over random polynomial units, finitely many or all.

With m₂ units, ĝ(x) = uᵀ σ₁(V x)/√m₂. For m₂ → ∞ this is kernel ridge regression with

    κ(x, z) = E σ₁(vᵀx) σ₁(vᵀz),  v uniform on the unit sphere,

a polynomial in ‖x‖², ‖z‖² and xᵀz, which is summed here exactly.

Source: Wang, Nichani, Lee 2024, arXiv:2311.13774, section 3; the limit of infinite width is ours.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import factorial, prod, sqrt
from typing import Any

import numpy as np

from normkit.estimators._layerwise import Descent, Sample, blocks, by_features, by_samples
from normkit.estimators._layerwise_algebra import Algebra

__all__ = ["Fitted", "RandomUnits", "SphereKernel"]


@dataclass(frozen=True)
class Fitted:
    """ĝ as fitted: the coefficients of the units, or of the samples of the kernel, and the decay that was taken."""

    coefficients: Any
    decay: float


@dataclass(frozen=True)
class RandomUnits:
    """σ₁(V x)/√m₂ with m₂ rows of V."""

    V: Any
    degree: int
    center: bool
    algebra: Algebra

    def fit(self, sample: Sample, decay: float | str, descent: Descent | None) -> Fitted:
        """u, from whichever of features and samples are fewer."""
        width = len(self.V)
        if width <= len(sample.X):
            return Fitted(*by_features(self._features(sample), sample, width, decay, self.algebra, descent))
        beta, decay = by_samples(self._kernel(sample.X), sample, decay, self.algebra, descent, self.center)
        parts = [self._hidden(sample.X, units).T @ beta for units in blocks(width, len(sample.X))]
        return Fitted(self.algebra.rows(parts), decay)

    def value(self, X: Any, u: Any) -> Any:
        """ĝ(X)."""
        return self.algebra.rows([self.hidden(X[rows]) @ u for rows in blocks(len(X), len(self.V))])

    def hidden(self, X: Any) -> Any:
        """σ₁(X Vᵀ)/√m₂."""
        return self._hidden(X, slice(None))

    def _features(self, sample: Sample) -> Callable[[Any], Any]:
        """The units as a function of X, minus their mean over the sample if they are to be centred."""
        if not self.center:
            return self.hidden
        rows = blocks(len(sample.X), len(self.V))
        mean = sum(sample.weight[part] @ self.hidden(sample.X[part]) for part in rows)
        return lambda X: self.hidden(X) - mean

    def _hidden(self, X: Any, units: slice) -> Any:
        return self.algebra.polynomial(X @ self.V[units].T, self.degree) / sqrt(len(self.V))

    def _kernel(self, X: Any) -> Any:
        total = self.algebra.zeros(len(X), len(X))
        for units in self.algebra.own(blocks(len(self.V), len(X))):
            part = self._hidden(X, units)
            total += part @ part.T
        return self.algebra.total(total)


@dataclass(frozen=True)
class SphereKernel:
    """κ, of which `samples` are those that the coefficients belong to."""

    samples: Any
    degree: int
    center: bool
    algebra: Algebra

    def fit(self, sample: Sample, decay: float | str, descent: Descent | None) -> Fitted:
        """β of the samples."""
        kernel = self.algebra.rows([self.kernel(sample.X[rows], sample.X) for rows in blocks(*[len(sample.X)] * 2)])
        return Fitted(*by_samples(kernel, sample, decay, self.algebra, descent, self.center))

    def value(self, X: Any, beta: Any) -> Any:
        """ĝ(X)."""
        parts = [self.kernel(X[rows], self.samples) @ beta for rows in blocks(len(X), len(self.samples))]
        return self.algebra.rows(parts)

    def kernel(self, X: Any, Z: Any) -> Any:
        """κ(x, z) for all pairs."""
        lengths = (X**2).sum(1)[:, None], (Z**2).sum(1)[None, :]
        product = X @ Z.T
        total = self.algebra.zeros(len(X), len(Z))
        for (left, right, both), factor in _terms(self.degree, X.shape[1]).items():
            total += factor * lengths[0] ** left * lengths[1] ** right * product**both
        return total


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
