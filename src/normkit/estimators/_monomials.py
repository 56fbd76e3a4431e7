"""Polynomials of a degree in d variables, written in monomials: Σ_α w_α x^α, |α| ≤ degree."""

from collections import Counter
from functools import lru_cache
from itertools import combinations_with_replacement
from math import comb, factorial, prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normkit.estimators._layerwise_algebra import Algebra

__all__ = ["count", "monomials", "names", "power_weights", "unit_moments"]


def count(d: int, degree: int) -> int:
    """C(d + degree, degree), how many there are."""
    return comb(d + degree, degree)


def monomials(X: Any, degree: int, algebra: Algebra) -> Any:
    """x^α for all α, (samples, count): 1, then x_1 … x_d, then x_1², x_1 x_2, …"""
    values = algebra.zeros(len(X), count(X.shape[1], degree))
    values[:, 0] = 1.0
    start = 1
    for factors in _factors(X.shape[1], degree):
        part = X[:, factors[:, 0]]
        for which in range(1, factors.shape[1]):
            part = part * X[:, factors[:, which]]
        values[:, start : start + len(factors)] = part
        start += len(factors)
    return values


@lru_cache(maxsize=8)
def power_weights(d: int, degree: int) -> NDArray[Any]:
    """ω_α with σ₁(vᵀx) = Σ_α ω_α v^α x^α: σ₁'s coefficient at t^|α|, times the multinomial coefficient |α|!/α!."""
    powers = np.polynomial.hermite_e.herme2poly([1 / sqrt(factorial(j)) for j in range(degree + 1)])
    weights = [float(powers[0])]
    for factors in _factors(d, degree):
        p = factors.shape[1]
        for one in factors.tolist():
            repeated = prod(factorial(times) for times in Counter(one).values())
            weights.append(float(powers[p]) * factorial(p) / repeated)
    return np.array(weights)


def unit_moments(d: int, degree: int) -> NDArray[Any]:
    """M_αβ = ω_α ω_β E v^{α+β} for v uniform on the unit sphere, so that E σ₁(vᵀx) σ₁(vᵀz) = x̂ᵀ M ẑ.

    E v^γ = Π_i (γ_i − 1)!! / (d (d + 2) … (d + |γ| − 2)), and 0 where a γ_i is odd.
    """
    powers = np.zeros((count(d, degree), d), dtype=np.int64)
    start = 1
    for factors in _factors(d, degree):
        for which in range(factors.shape[1]):
            np.add.at(powers, (np.arange(start, start + len(factors)), factors[:, which]), 1)
        start += len(factors)
    double_factorial = np.array([0.0 if p % 2 else prod(range(p - 1, 0, -2)) for p in range(2 * degree + 1)])
    shrink = np.array([prod(d + 2 * step for step in range(p // 2)) for p in range(2 * degree + 1)])
    totals = powers.sum(1)
    moments = 1.0 / shrink[totals[:, None] + totals]
    for variable in powers.T:
        moments *= double_factorial[variable[:, None] + variable]
    weights = power_weights(d, degree)
    return np.asarray(moments * weights * weights[:, None])


def names(features: list[str], degree: int) -> list[str]:
    """The monomials by name: `1`, `a`, `b`, `a^2`, `a b`, …"""
    every = ["1"]
    for factors in _factors(len(features), degree):
        counts = (Counter(features[which] for which in one) for one in factors.tolist())
        every += [" ".join(n if times == 1 else f"{n}^{times}" for n, times in one.items()) for one in counts]
    return every


@lru_cache(maxsize=8)
def _factors(d: int, degree: int) -> tuple[NDArray[Any], ...]:
    """For each degree p from 1 the variables that each monomial multiplies, (monomials, p)."""
    return tuple(np.array(list(combinations_with_replacement(range(d), p))) for p in range(1, degree + 1))
