"""How much noise a budget asks for: the exact curve of the Gaussian mechanism and its inverse.

    δ(ε) = Φ(Δ/2σ − εσ/Δ) − e^ε Φ(−Δ/2σ − εσ/Δ)

Source: Balle and Wang, *Improving the Gaussian Mechanism for Differential Privacy*, ICML 2018, arXiv:1805.06530,
theorem 8.
"""

import math
from functools import lru_cache

from scipy.optimize import brentq
from scipy.special import log_ndtr

__all__ = ["concentrated_sigma", "gaussian_delta", "gaussian_sigma", "rounding_delta"]


def gaussian_delta(epsilon: float | int, ratio: float | int) -> float:
    """The smallest δ for which noise of σ = `ratio` · Δ is (ε, δ)-private; computed from logarithms of Φ."""
    return math.exp(_log_delta(epsilon, ratio))


def gaussian_sigma(epsilon: float | int, delta: float, sensitivity: float | int = 1.0) -> float:
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
    for name, value, low, high in (
        ("epsilon", epsilon, 0.0, math.inf),
        ("delta", delta, 0.0, 1.0),
        ("sensitivity", sensitivity, 0.0, math.inf),
    ):
        if not low < value < high:
            raise ValueError(f"{name} is {value}: give a number above {low:g} and below {high:g}")

    return _ratio(float(epsilon), float(delta)) * sensitivity


def concentrated_sigma(epsilon: float, delta: float, sensitivity: float) -> float:
    """σ = Δ/√(2ρ) with ρ + 2√(ρ ln 1/δ) = ε: valid for the discrete Gaussian at any σ, above the exact σ by a little.

    Source: Bun and Steinke 2016, arXiv:1605.02065, proposition 1.3; Canonne et al. 2020, arXiv:2004.00010.
    """
    logarithm = math.log(1 / delta)
    root = math.sqrt(epsilon + logarithm) - math.sqrt(logarithm)
    return sensitivity / (math.sqrt(2) * root)


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

    low, high = -1.0, 1.0
    while excess(low) < 0:
        low *= 2
    while excess(high) > 0:
        high *= 2
    ratio = math.exp(brentq(excess, low, high, xtol=1e-13, rtol=1e-13))
    while _log_delta(epsilon, ratio) > math.log(delta):
        ratio *= 1 + 1e-13
    return ratio


def _log_delta(epsilon: float | int, ratio: float | int) -> float:
    upper = float(log_ndtr(0.5 / ratio - epsilon * ratio))
    lower = float(log_ndtr(-0.5 / ratio - epsilon * ratio))
    gap = epsilon + lower - upper
    return upper + math.log(-math.expm1(gap)) if gap < 0 else -math.inf
