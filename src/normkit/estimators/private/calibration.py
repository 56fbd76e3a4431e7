"""How much noise a budget asks for: the exact curve of the Gaussian mechanism and its inverse.

    δ(ε) = Φ(Δ/2σ − εσ/Δ) − e^ε Φ(−Δ/2σ − εσ/Δ)

Where σ is large the two terms agree in most of their digits, so their difference is not taken: with r = σ/Δ,

    δ = Φ(a) (1 − e^{−I}),   I = ∫ (h(t) − εr) dt from t = −1/2r − εr to a = 1/2r − εr,   h = φ/Φ,

since log Φ has the derivative h and ε = ∫ εr dt over that interval; h(t) > −t makes I positive.

Source: Balle and Wang, *Improving the Gaussian Mechanism for Differential Privacy*, ICML 2018, arXiv:1805.06530,
theorem 8.
"""

import math
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import erfcx, log_ndtr

from normkit.estimators._parameters import check_number

__all__ = ["concentrated_sigma", "gaussian_delta", "gaussian_sigma", "rounding_delta"]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)  # exact to rounding on an interval of length 1 and less
_MARGIN = 1e-12  # by which σ is rounded to the private side


def gaussian_delta(epsilon: float | int, ratio: float | int) -> float:
    """The smallest δ for which noise of σ = `ratio` · Δ is (ε, δ)-private; computed from logarithms of Φ."""
    return math.exp(_log_delta(epsilon, ratio))


def gaussian_sigma(epsilon: Any, delta: Any, sensitivity: Any = 1.0) -> float:
    """The smallest σ for which adding N(0, σ²) to each number of a vector is (ε, δ)-private.

    Args:
        epsilon: ε > 0.
        delta: 0 < δ < 1.
        sensitivity: Δ > 0, the L2 distance by which one record can move the vector; σ has its unit.

    Returns:
        σ, the root of Φ(Δ/2σ − εσ/Δ) − e^ε Φ(−Δ/2σ − εσ/Δ) = δ, rounded to the private side.

    Raises:
        ValueError: an argument outside its range.

    Source: Balle and Wang 2018, arXiv:1805.06530, theorem 8; used in Backurs et al. 2024, arXiv:2403.08917.
    """
    check_number("epsilon", epsilon, 0.0, "a finite number above 0")
    check_number("delta", delta, 0.0, "a number above 0 and below 1", high=1.0)
    check_number("sensitivity", sensitivity, 0.0, "a finite number above 0")
    return _ratio(float(epsilon), float(delta)) * float(sensitivity)


def concentrated_sigma(epsilon: float, delta: float, sensitivity: float) -> float:
    """σ = Δ/√(2ρ) with ρ + 2√(ρ ln 1/δ) = ε: valid for the discrete Gaussian at any σ, above the exact σ by a little.

    Source: Bun and Steinke 2016, arXiv:1605.02065, proposition 1.3; Canonne et al. 2020, arXiv:2004.00010.
    """
    logarithm = -math.log(delta)
    # 1/(√(ε + L) − √L), without the difference
    inverse = (math.sqrt(epsilon + logarithm) + math.sqrt(logarithm)) / epsilon
    return sensitivity * inverse / math.sqrt(2)


def rounding_delta(epsilon: float, sigma: float, size: int) -> float:
    """What is added to δ where `size` numbers get the discrete Gaussian of the integers in place of a rounded one.

    The rounded continuous Gaussian is post-processing, so its δ is that of the curve above. With σ in steps of the
    grid the two laws are within 1/(24σ²) of each other in total variation, for each number; twice that is counted, and
    a distance of τ between two mechanisms costs (1 + e^ε) τ.
    """
    return (1 + math.exp(min(epsilon, 700.0))) * size / (12 * sigma**2)


@lru_cache(maxsize=256)
def _ratio(epsilon: float, delta: float) -> float:
    """σ/Δ."""

    def excess(log_ratio: float) -> float:
        return _log_delta(epsilon, math.exp(log_ratio)) - math.log(delta)

    # both are private: the first by zero-concentrated privacy, the second for every ε as δ(0) < Δ/σ
    low, high = -1.0, math.log(min(concentrated_sigma(epsilon, delta, 1.0), 1 / delta, 1e308))
    if excess(high) > 0:
        return math.inf
    while excess(low) < 0:
        low *= 2
    ratio = math.exp(brentq(excess, low, high, xtol=1e-13, rtol=1e-13)) * (1 + _MARGIN)
    while _log_delta(epsilon, ratio) > math.log(delta):
        ratio *= 1 + _MARGIN
    return ratio


def _log_delta(epsilon: float | int, ratio: float | int) -> float:
    upper = float(log_ndtr(0.5 / ratio - epsilon * ratio))
    if ratio < 1:
        gap = upper - float(log_ndtr(-0.5 / ratio - epsilon * ratio)) - epsilon
    else:
        t = _NODES * (0.5 / ratio) - epsilon * ratio
        hazard = math.sqrt(2 / math.pi) / erfcx(-t / math.sqrt(2))
        gap = float(_WEIGHTS @ (hazard - epsilon * ratio)) * (0.5 / ratio)
    return upper + math.log(-math.expm1(-gap)) if gap > 0 else -math.inf
