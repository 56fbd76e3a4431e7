"""From positive parts to a precision matrix: the four ways of shrinking, in numpy or torch."""

import warnings
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np

from normkit.estimators._arrays import Array, as_backend, as_numpy
from normkit.estimators._precision import Precision, double_centred, pseudo_inverse, shrunk_precision
from normkit.estimators.compositions import clr
from normkit.estimators.shrinkage import CONSTANT, ShrunkColumns, log_proportions, shrink_columns

__all__ = ["Estimate", "Shrinkage", "chosen_shrinkage", "estimate"]

Shrinkage = str | float | None
"""None, "basis", "clr", or λ of the basis correlations."""

_NOTHING = 1e-10
"""A squared component of a unit vector below it is rounding."""


@dataclass(frozen=True)
class Estimate:
    """P, the intensities, ν of the t-test (None where it does not apply), and what Γ is made of.

    `dependent` (D,) says which parts a log-ratio identity ties to others, so that these leave nothing of them.
    """

    precision: Precision
    shrinkage: float
    variance_shrinkage: float
    freedom: int | None
    source: Array | ShrunkColumns
    centred: bool
    dependent: np.ndarray

    def covariance(self) -> np.ndarray:
        """Γ (D, D): of the clr coordinates, or the shrunk one that P is the inverse of."""
        if not isinstance(self.source, ShrunkColumns):
            return as_numpy(self.source.T @ self.source)
        covariance = self.source.covariance()
        return as_numpy(double_centred(covariance) if self.centred else covariance)


def chosen_shrinkage(shrinkage: Any, samples: int, parts: int) -> Shrinkage:
    """What "auto" means for a table of this shape; warns of what is about to be lost.

    Raises:
        ValueError: none of "auto", None, "basis", "clr" and numbers in [0, 1].
    """
    number = isinstance(shrinkage, Real) and not isinstance(shrinkage, bool)
    if not (shrinkage in (None, "auto", "basis", "clr") or (number and 0 <= shrinkage <= 1)):
        raise ValueError(f'shrinkage is {shrinkage!r}: it must be "auto", None, "basis", "clr" or λ in [0, 1]')
    if isinstance(shrinkage, str) and shrinkage == "auto":
        return "basis" if samples < 5 * parts else None
    if shrinkage is None and samples < parts:
        warnings.warn(
            f"{samples} samples cannot determine {parts} parts: a pseudo-inverse is used and p-values are withheld; "
            'shrinkage="basis" is made for this',
            stacklevel=3,
        )
    if isinstance(shrinkage, str) and shrinkage == "clr":
        warnings.warn(
            'shrinkage="clr" shrinks log-ratios, which are dependent by construction, so the result depends on the '
            'transform: it is there to compare with; shrinkage="basis" does not',
            stacklevel=3,
        )
    return float(shrinkage) if number else shrinkage


def estimate(
    parts: np.ndarray,
    shrinkage: Shrinkage,
    backend: str = "numpy",
    device: Any = None,
    intensities: tuple[float | None, float | None] | None = None,
) -> Estimate:
    """The precision matrix of (N, D) positive parts; `intensities` are λ and λ_v that are known already."""
    if shrinkage is None:
        return _unshrunk(as_backend(clr(parts), backend, device))
    if intensities is None:
        intensities = None if isinstance(shrinkage, str) else shrinkage, None
    centred = shrinkage != "clr"
    logs = log_proportions(parts) if centred else clr(parts)
    columns = shrink_columns(as_backend(logs, backend, device), *intensities)
    precision = shrunk_precision(columns, centred=centred)
    independent = np.zeros(parts.shape[1], bool)
    return Estimate(precision, columns.shrinkage, columns.variance_shrinkage, None, columns, centred, independent)


def _unshrunk(coordinates: Array) -> Estimate:
    """Without shrinkage; a part whose clr coordinate is constant is left out of account, as if it were not there."""
    samples = len(coordinates)
    rows = (coordinates - coordinates.mean(0)) / (samples - 1) ** 0.5
    varies = (rows * rows).sum(0) >= CONSTANT  # else rounding would be taken for variation
    rows = rows * varies
    found = pseudo_inverse(rows)
    precision = replace(found, factor=found.factor * varies)  # eigenvectors are 0 there but for rounding
    dependent = _dependent(found, as_numpy(varies), samples)
    freedom = None if dependent.any() else samples - int(varies.sum()) + 1
    if freedom is not None and freedom < 1:
        freedom = None
    return Estimate(precision, 0.0, 0.0, freedom, rows, True, dependent)


def _dependent(precision: Precision, varies: np.ndarray, samples: int) -> np.ndarray:
    """The parts in the null space of Γ, apart from the constant vector; none where samples are too few to tell."""
    parts = int(varies.sum())
    factor = as_numpy(precision.factor)
    if samples < parts or len(factor) >= parts - 1:
        return np.zeros(len(varies), bool)
    vectors = factor / np.sqrt((factor * factor).sum(1))[:, None]
    left = 1 - 1 / parts - (vectors * vectors).sum(0)  # squared length of a part's axis within the null space
    dependent: np.ndarray = varies & (left > _NOTHING)
    return dependent
