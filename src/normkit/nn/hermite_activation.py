"""Activations written in Hermite polynomials, and those whose infinitely wide and deep network classifies optimally.

    φ(x) = Σ_k a_k he_k(x),   he_k = probabilists' Hermite polynomial / √k!,   E φ = a_0,   E φ² = Σ_k a_k²

Under N(0, 1) the he_k are orthonormal, so the coefficients are the normalisation: a_0 = 0 takes the mean out, Σ a_k²
= 1 keeps the variance through any depth. Of those activations the limit kernel has a singularity ‖x − x′‖^(−α) with
α = −2 log a_1² / log Σ k a_k²; α = d, the dimension of the data's sphere, makes the network's classifier consistent.

Source: Radhakrishnan, Belkin, Uhler 2023, "Wide and deep neural networks achieve consistency for classification", PNAS
120(14), arXiv:2204.14126; the two-term family is this project's.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Shaped
from numpy import ndarray
from torch import Tensor, nn

__all__ = ["HermiteActivation", "optimal_activation", "optimal_coefficients"]


class HermiteActivation(nn.Module):
    """φ(x) = Σ_k a_k he_k(x), by Clenshaw's recurrence: he_{k+1} = (x he_k − √k he_{k−1}) / √(k+1).

    The coefficients are constants, not parameters. float16 and bfloat16 are widened to float32 and narrowed at the end.

    Args:
        coefficients: a_0, a_1, …, a_K, in that order.

    Shape:
        (*) → the same.

    Raises:
        ValueError: no coefficient, or one that is not finite.
        TypeError: in the call, the input is no float tensor.
    """

    def __init__(self, coefficients: Sequence[float | int] | Float[ndarray, " k"] | Float[Tensor, " k"]) -> None:
        super().__init__()
        self.coefficients = tuple(float(a) for a in coefficients)
        if not self.coefficients or not all(map(math.isfinite, self.coefficients)):
            raise ValueError(f"HermiteActivation needs one finite coefficient or more, got {self.coefficients}")

    def forward(self, input: Shaped[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """φ of every element."""
        if not input.is_floating_point():
            raise TypeError(f"HermiteActivation takes a float tensor, got {input.dtype}")
        x = input.float() if input.dtype.itemsize < 4 else input
        # b_k = a_k + x b_{k+1}/√(k+1) − √((k+1)/(k+2)) b_{k+2}, and φ = b_0. NaN · 0 keeps what is not finite.
        last = before = 0.0 * x
        for k in range(len(self.coefficients) - 1, -1, -1):
            last, before = (
                self.coefficients[k] + x * last / math.sqrt(k + 1) - math.sqrt((k + 1) / (k + 2)) * before,
                last,
            )
        return last.to(input.dtype)

    def extra_repr(self) -> str:
        """The coefficients."""
        return ", ".join(f"{a:.4g}" for a in self.coefficients)


def optimal_activation(d: float | int, family: int | None = None) -> HermiteActivation:
    """The activation whose infinitely wide and deep network is a consistent classifier on the sphere of dimension d.

    For d ≥ 2: φ = 2^(−d/4) he_3 + √(1 − 2^(1−d/2)) he_2 + 2^(−d/4) he_1; for d = 1: φ = (he_1 + he_7)/√2.

    Shape:
        (*) → the same, element-wise.

    Args:
        d: dimension of the sphere: features − 1.
        family: take the two-term φ = √a he_1 + √(1−a) he_k of this degree k instead.

    Raises:
        ValueError: d < 1, or no activation of that family has α = d.
    """
    return HermiteActivation(optimal_coefficients(d, family))


def optimal_coefficients(d: float | int, family: int | None = None) -> Float[ndarray, " k"]:
    """The Hermite coefficients a_k of `optimal_activation(d, family)`.

    Between d = 1 and 2, where the three terms have no real solution, the two-term φ of degree 7 is taken, which at
    d = 1 is the paper's.

    Raises:
        ValueError: as `optimal_activation`.
    """
    if not (math.isfinite(d) and d >= 1):
        raise ValueError(f"d is the dimension of the sphere, features − 1, and at least 1; got {d}")
    if family is None and d >= 2:
        outer = 2 ** (-d / 4)
        return np.array([0.0, outer, math.sqrt(1 - 2 ** (1 - d / 2)), outer])
    degree = 7 if family is None else family
    first = _first_square(d, degree)
    coefficients = np.zeros(degree + 1)
    coefficients[1], coefficients[degree] = math.sqrt(first), math.sqrt(1 - first)
    return coefficients


def _first_square(d: float | int, k: int) -> float:
    """a = a_1² with a_k² = 1 − a and α = d: the root below 1 of a^(−2) = (k(1−a) + a)^d, by bisection in log a."""
    if k != int(k) or k < 2 or d * (k - 1) <= 2:
        raise ValueError(
            f"family is the degree k ≥ 2 of the second term, and d (k − 1) > 2; got d = {d:g}, k = {k}: take a larger k"
        )
    low, high = -d / 2 * math.log(k) - 1, 0.0
    for _ in range(200):
        middle = (low + high) / 2
        a = math.exp(middle)
        if -2 * middle > d * math.log(k + (1 - k) * a):
            low = middle
        else:
            high = middle
    return math.exp(low)
