"""What a network becomes as it grows infinitely wide and deep, read from its activation.

| A = E φ | A′ = E φ′ | B′ = E φ′² | limit |
|---|---|---|---|
| 0 | ≠ 0 | > 1 | singular kernel: sign Σ_i y_i ψ(xᵀx_i), ψ ~ ‖x − x_i‖^(−α), α = −4 log abs(A′) / log B′ |
| 0 | 0 | – | the nearest neighbour's label |
| ≠ 0 | – | ≥ 1 | the majority's label, whatever x is |
| ≠ 0 | – | < 1 | a constant kernel; which classifier depends on the normalisation |

Source: Radhakrishnan, Belkin, Uhler 2023, arXiv:2204.14126.
"""

import math
from dataclasses import dataclass
from typing import Any

from normkit.estimators.hermite import moments

__all__ = ["Taxonomy", "taxonomy"]

TOLERANCE = 1e-8


@dataclass(frozen=True)
class Taxonomy:
    """A, A′, B′ of φ / √E φ², the limit that they mean, and the exponent of a singular kernel."""

    A: float
    A_prime: float
    B_prime: float
    limit: str
    alpha: float | None

    @property
    def n_features(self) -> float | None:
        """Features of the data for which the limit is a consistent classifier: α + 1; None where it never is."""
        return None if self.alpha is None else self.alpha + 1


def taxonomy(activation: Any) -> Taxonomy:
    """Which classifier an infinitely wide and deep network with this activation is.

    Args:
        activation: "relu", "erf", Hermite coefficients, a torch module or an element-wise function.

    Returns:
        `limit` is "singular kernel", "1-nearest neighbor", "majority vote", "constant kernel" or "linear".

    Raises:
        ValueError: φ is 0, jumps, or has no finite moments.
    """
    found = moments(activation)
    alpha = None
    if abs(found.A) > TOLERANCE:
        limit = "majority vote" if found.B_prime >= 1 - TOLERANCE else "constant kernel"
    elif abs(found.A_prime) <= TOLERANCE:
        limit = "1-nearest neighbor"
    elif found.B_prime <= 1 + TOLERANCE:
        limit = "linear"
    else:
        limit, alpha = "singular kernel", -4 * math.log(abs(found.A_prime)) / math.log(found.B_prime)
    return Taxonomy(found.A, found.A_prime, found.B_prime, limit, alpha)
