"""Hermite coefficients of an activation, and the numbers of it that decide what depth makes of a network.

    a_k = E φ(z) he_k(z),   A = E φ = a_0,   A′ = E φ′ = a_1,   B′ = E φ′² = Σ k a_k²,   all of φ / √E φ²

Source: Radhakrishnan, Belkin, Uhler 2023, arXiv:2204.14126.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from normkit.estimators._parameters import check, is_number, is_whole
from normkit.nn import HermiteActivation
from normkit.nn.normal_moments import normal_quadrature, tabulate

__all__ = ["Moments", "hermite_coefficients", "moments"]

NAMED = {"relu": torch.nn.functional.relu, "erf": torch.erf}


@dataclass(frozen=True)
class Moments:
    """A = E φ, A′ = E z φ(z) and B′ = E φ′² of φ / √E φ²."""

    A: float
    A_prime: float
    B_prime: float


def hermite_coefficients(activation: Any, degree: int = 60) -> Float[ndarray, " k"]:
    """a_0, …, a_degree of φ / √E φ², by quadrature.

    Args:
        activation: "relu", "erf", a torch module or an element-wise function of a tensor or array; a
            `HermiteActivation` or a sequence of coefficients gives its own, scaled to Σ a_k² = 1.
        degree: of the last coefficient; of a given series it has no say.

    Returns:
        a_k of shape (degree + 1,). At a kink a_k² falls like k^(−5/2): Σ a_k² is below 1 then.

    Raises:
        ValueError: degree < 0, an unknown name, or φ is 0, not element-wise or not finite.
    """
    if isinstance(activation, HermiteActivation):
        activation = activation.coefficients
    if isinstance(activation, Sequence | ndarray) and not isinstance(activation, str):
        if not all(map(is_number, activation)) or not any(activation):
            raise ValueError(
                f"activation is {activation!r}: Hermite coefficients are a row of finite numbers that are not all 0"
            )
        given = np.array(activation, dtype=np.float64)
        return given / math.sqrt(given @ given)
    check("degree", degree, is_whole(degree, 0), "a whole number of at least 0")
    z, weights = normal_quadrature()
    values = tabulate(_callable(activation))[0]
    values = values / math.sqrt(_second_moment(weights, values))
    before, last = np.zeros_like(z), np.ones_like(z)
    found = []
    for k in range(degree + 1):
        found.append(weights @ (values * last))
        before, last = last, (z * last - math.sqrt(k) * before) / math.sqrt(k + 1)
    return np.array(found)


def moments(activation: Any) -> Moments:
    """A, A′ and B′ of an activation, each from its own quadrature; of a series from its coefficients.

    Raises:
        ValueError: as `hermite_coefficients`, or φ jumps, so that E φ′² is infinite.
    """
    if isinstance(activation, Sequence | ndarray | HermiteActivation) and not isinstance(activation, str):
        a = hermite_coefficients(activation)
        return Moments(float(a[0]), float(a[1]) if len(a) > 1 else 0.0, float(a**2 @ np.arange(len(a))))
    z, weights = normal_quadrature()
    values, slopes = tabulate(_callable(activation))
    scale = math.sqrt(_second_moment(weights, values))
    values, slopes = values / scale, slopes / scale
    found = Moments(float(weights @ values), float(weights @ (z * values)), float(weights @ slopes**2))
    # Without a jump E z φ = E φ′ (Stein).
    if abs(found.A_prime - weights @ slopes) > 1e-3:
        raise ValueError(
            f"the activation jumps: E z φ(z) = {found.A_prime:.4g} but E φ′ = {weights @ slopes:.4g}; E φ′² is infinite"
        )
    return found


def _callable(activation: Any) -> Any:
    if isinstance(activation, str):
        if activation not in NAMED:
            raise ValueError(
                f"activation is {activation!r}: it must be one of {', '.join(map(repr, NAMED))} ('optimal' too for an "
                "InfiniteNetClassifier), Hermite coefficients, a module or a function"
            )
        return NAMED[activation]
    if not callable(activation):
        raise ValueError(
            f"activation is {activation!r}: it must be a name, Hermite coefficients, a module or a function"
        )
    return activation


def _second_moment(weights: ndarray, values: ndarray) -> float:
    second = float(weights @ values**2)
    if not second > 0 or not math.isfinite(second):
        raise ValueError(f"E φ(z)² is {second:g}: an activation has a finite second moment above 0")
    return second
