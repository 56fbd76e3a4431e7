"""The dual of an activation: what a wide layer makes of the correlation of two inputs.

    φ̌(ξ) = E φ(u) φ(v) = Σ_k a_k² ξ^k,   u, v ~ N(0, 1) with correlation ξ

Near ξ = 1 everything is said by δ = 1 − ξ: `gap` is 1 − φ̌(1 − δ) without the cancellation.

Source: Radhakrishnan, Belkin, Uhler 2023, arXiv:2204.14126; the closed forms of ReLU: Cho and Saul 2009.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from normkit.estimators.hermite import Moments, hermite_coefficients, moments
from normkit.nn import HermiteActivation

__all__ = ["Dual", "ReLUDual", "SeriesDual", "dual_activation"]


@dataclass(frozen=True)
class SeriesDual:
    """φ̌(ξ) = Σ_k p_k ξ^k + m ξ^κ with p_k = a_k²/Σ a_k².

    The last term stands for all that the series leaves out of an activation with a kink, whose a_k² fall like a power:
    its mass m and its slope m κ are the missing ones, so that φ̌(1) = 1 and φ̌′(1) = E φ′² are right.
    """

    powers: tuple[float, ...]
    tail: tuple[float, float] = (0.0, 1.0)

    @property
    def lowest(self) -> tuple[int, float]:
        """(m, p_m) of the first term that is not 0."""
        return next((k, p) for k, p in enumerate(self.powers) if p > 0)

    def __call__(self, xi: Any) -> Any:
        """φ̌(ξ)."""
        mass, power = self.tail
        value = _horner(self.powers, xi)
        return value + mass * xi**power if mass else value

    def derivative(self, xi: Any) -> Any:
        """φ̌′(ξ)."""
        mass, power = self.tail
        value = _horner([k * p for k, p in enumerate(self.powers)][1:] or [0.0], xi)
        return value + mass * power * xi ** (power - 1) if mass else value

    def gap(self, delta: Any) -> Any:
        """1 − φ̌(1 − δ) = δ Σ_j (1 − δ)^j Σ_{k>j} p_k: sums of positive terms."""
        above = np.cumsum(self.powers[::-1])[::-1][1:]
        value = delta * _horner(above if len(above) else [0.0], 1 - delta)
        mass, power = self.tail
        with np.errstate(divide="ignore"):
            return value - mass * np.expm1(power * np.log1p(-delta)) if mass else value


@dataclass(frozen=True)
class ReLUDual:
    """√2·max(0, ·): φ̌(ξ) = (ξ(π − θ) + sin θ)/π and φ̌′(ξ) = (π − θ)/π with θ = arccos ξ."""

    lowest: tuple[int, float] = (0, 1 / math.pi)

    def __call__(self, xi: Any) -> Any:
        """φ̌(ξ)."""
        theta = np.arccos(np.clip(xi, -1, 1))
        return (xi * (np.pi - theta) + np.sin(theta)) / np.pi

    def derivative(self, xi: Any) -> Any:
        """φ̌′(ξ)."""
        return 1 - np.arccos(np.clip(xi, -1, 1)) / np.pi

    def gap(self, delta: Any) -> Any:
        """1 − φ̌(1 − δ) = δ − (sin θ − θ cos θ)/π."""
        theta = 2 * np.arcsin(np.sqrt(np.clip(delta, 0, 2) / 2))
        square = theta**2  # below 0.1 the difference would cancel: θ³ Σ (−1)^j (2j+2) θ^2j / (2j+3)!
        series = theta**3 * (1 / 3 - square * (1 / 30 - square * (1 / 840 - square / 45360)))
        return delta - np.where(theta < 0.1, series, np.sin(theta) - theta * np.cos(theta)) / np.pi


Dual = SeriesDual | ReLUDual


def dual_activation(activation: Any) -> Dual:
    """φ̌ of an activation, as a function with `derivative` and `gap`.

    Args:
        activation: Hermite coefficients a_0, a_1, …; "relu" or "erf"; a torch module or an element-wise function. It is
            divided by √E φ², so that φ̌(1) = 1.

    Returns:
        φ̌: called with ξ of any shape it gives φ̌(ξ); `derivative(ξ)` is φ̌′, `gap(δ)` is 1 − φ̌(1 − δ).

    Raises:
        ValueError: φ has no finite second moment, or is 0.
    """
    if isinstance(activation, Dual):
        return activation
    if isinstance(activation, str) and activation == "relu":
        return ReLUDual()
    exact = is_polynomial(activation)
    coefficients = hermite_coefficients(activation, degree=60)
    powers = coefficients**2
    if exact:
        return SeriesDual(tuple(powers / powers.sum()))
    return _with_tail(powers, moments(activation))


def is_polynomial(activation: Any) -> bool:
    """Whether the activation is given by all of its Hermite coefficients."""
    return isinstance(activation, Sequence | ndarray | HermiteActivation) and not isinstance(activation, str)


def _with_tail(powers: Float[ndarray, " k"], known: Moments) -> SeriesDual:
    missing = 1 - powers.sum()
    slope = known.B_prime - powers @ np.arange(len(powers))
    if missing > 1e-12 and slope > missing * len(powers):
        return SeriesDual(tuple(powers), (float(missing), float(slope / missing)))
    return SeriesDual(tuple(powers / powers.sum()))


def _horner(coefficients: Any, x: Any) -> Any:
    value = 0.0 * x + coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        value = value * x + coefficient
    return value
