"""What the layer-wise network learned, told in figures."""

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LayerwiseReport"]

_TELLING = 1 / 3
"""The noise of 36 samples; of fewer, hardly any correlation would stand out."""


@dataclass(frozen=True)
class LayerwiseReport:
    """What each stage learned; measured on the second stage's sample, which is fresh to the first stage only.

    Attributes:
        correlation: of ĝ with y.
        noise: two standard errors of a correlation that is 0; within it nothing says that stage 1 learned anything.
        r2_stage_1: R² of ĝ.
        r2_stage_2: R² of the whole, in sample for the link.
        derivative_share: (E g′)²/Var g of the learned link, which is what the first stage can see of the target.
        link_grid, link_values: the learned link as a curve, ĝ° from −3 to 3.
    """

    correlation: float
    noise: float
    r2_stage_1: float
    r2_stage_2: float
    derivative_share: float
    link_grid: NDArray[Any]
    link_values: NDArray[Any]

    @classmethod
    def of(
        cls, y: NDArray[Any], weight: NDArray[Any], first: NDArray[Any], whole: NDArray[Any], link: Any
    ) -> "LayerwiseReport":
        """From the targets of a sample, their weights, the outputs of both stages, and the link as a function."""
        grid = np.linspace(-3.0, 3.0, 61)
        return cls(
            correlation=_correlation(first, y, weight),
            noise=2 * sqrt(float(weight @ weight)) / float(weight.sum()),
            r2_stage_1=_r2(y, first, weight),
            r2_stage_2=_r2(y, whole, weight),
            derivative_share=_correlation(first, whole, weight) ** 2,  # Stein: E g′(z) = E z g(z)
            link_grid=grid,
            link_values=link(grid),
        )

    @property
    def blind(self) -> bool:
        """Whether stage 1 has learned nothing: the correlation is within its noise, on enough samples to tell."""
        return bool(self.correlation <= self.noise < _TELLING)

    def __str__(self) -> str:
        return (
            f"ĝ correlates with y by {self.correlation:.3f} (noise {self.noise:.3f}); R² {self.r2_stage_1:.3f} after "
            f"stage 1 and {self.r2_stage_2:.3f} after stage 2; {100 * self.derivative_share:.0f} % of the learned link "
            "is what stage 1 can see"
        )


def _centred(values: NDArray[Any], weight: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(values - np.average(values, weights=weight))


def _correlation(left: NDArray[Any], right: NDArray[Any], weight: NDArray[Any]) -> float:
    """Pearson's, 0 where one of both is constant."""
    left, right = _centred(left, weight), _centred(right, weight)
    size = sqrt(float(weight @ left**2) * float(weight @ right**2))
    return float(weight @ (left * right)) / size if size else 0.0


def _r2(y: NDArray[Any], guess: NDArray[Any], weight: NDArray[Any]) -> float:
    """1 − error/variance, NaN where y is constant."""
    variance = float(weight @ _centred(y, weight) ** 2)
    return 1 - float(weight @ (y - guess) ** 2) / variance if variance else float("nan")
