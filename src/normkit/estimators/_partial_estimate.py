"""From positive parts to a precision matrix: the four ways of shrinking, in numpy or torch."""

import warnings
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Estimate:
    """P, the intensities, ν of the t-test (None where it does not apply), and what Γ is made of."""

    precision: Precision
    shrinkage: float
    variance_shrinkage: float
    freedom: int | None
    source: Array | ShrunkColumns
    centred: bool

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
    return Estimate(precision, columns.shrinkage, columns.variance_shrinkage, None, columns, centred)


def _unshrunk(coordinates: Array) -> Estimate:
    samples, parts = coordinates.shape
    rows = (coordinates - coordinates.mean(0)) / (samples - 1) ** 0.5
    rows = rows * ((rows * rows).sum(0) >= CONSTANT)  # else rounding would be taken for variation
    freedom = samples - parts + 1
    return Estimate(pseudo_inverse(rows), 0.0, 0.0, freedom if freedom >= 1 else None, rows, True)
