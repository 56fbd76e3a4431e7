"""The kernel of an infinitely deep network: ψ(ξ) = lim φ̌^(L)(ξ) / c^L with c = a_1² (Koenigs' function).

Of c and φ̌ alone: ψ(φ̌(ξ)) = c ψ(ξ), ψ′(0) = 1, and ψ ~ ‖x − x′‖^(−α) near the diagonal. Both limits, with only the last
layer trained (s^L/c^L) and with all (k^L/(c^L (L+1))), are ψ.

Source: Radhakrishnan, Belkin, Uhler 2023, arXiv:2204.14126.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from normkit.estimators.dual_activation import Dual, dual_activation

__all__ = ["log_psi", "log_singular_kernel"]


def log_singular_kernel(delta: Float[ndarray, "*shape"], activation: Any) -> Float[ndarray, "*shape"]:
    """log ψ(1 − δ), to the last digits at any δ.

    While δ < ½ it is iterated as δ ← 1 − φ̌(1 − δ), then as ξ ← φ̌(ξ) down to 1e-20; log ψ = log ξ − steps · log c.

    Args:
        delta: δ = 1 − xᵀx′ = ½‖x − x′‖², in [0, 1].
        activation: Hermite coefficients with a_0 = 0 ≠ a_1, or whatever `dual_activation` takes.

    Returns:
        log ψ of the same shape: +∞ at δ = 0, −∞ at δ = 1.

    Raises:
        ValueError: δ outside of [0, 1], or an activation whose limit is no singular kernel.
    """
    dual = dual_activation(activation)
    delta = np.asarray(delta, dtype=np.float64)
    if not bool(((delta >= 0) & (delta <= 1)).all()):
        raise ValueError("delta is 1 − xᵀx′ of points on the sphere with entries ≥ 0: every value lies in [0, 1]")
    order, c = dual.lowest
    if order != 1 or not c < 1 - 1e-12:
        raise ValueError(
            f"no singular kernel: the activation needs a_0 = 0 and 0 < a_1² < 1, "
            f"but its first term is of order {order}, squared {c:g}"
        )
    return log_psi(delta, 1 - delta, dual)


def log_psi(delta: Float[ndarray, "*shape"], xi: Float[ndarray, "*shape"], dual: Dual) -> Float[ndarray, "*shape"]:
    """log ψ where both δ and ξ = 1 − δ are known to all their digits."""
    flat, result = delta.ravel(), np.full(delta.size, -np.inf)
    result[flat == 0] = np.inf
    inside = np.flatnonzero((flat > 0) & (xi.ravel() > 0))
    gap, steps = flat[inside].copy(), np.zeros(len(inside))
    while (near := np.flatnonzero(gap < 0.5)).size:
        gap[near] = dual.gap(gap[near])
        steps[near] += 1
    rest = np.where(steps > 0, 1 - gap, xi.ravel()[inside])
    while (large := np.flatnonzero(rest >= 1e-20)).size:
        rest[large] = dual(rest[large])
        steps[large] += 1
    result[inside] = np.log(rest) - steps * math.log(dual.lowest[1])
    return result.reshape(delta.shape)
