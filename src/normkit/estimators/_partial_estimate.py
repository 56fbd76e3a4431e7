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

__all__ = ["Estimate", "Shrinkage", "check_shrinkage", "chosen_shrinkage", "estimate"]

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


def check_shrinkage(shrinkage: Any) -> None:
    """Raises ValueError for what is none of "auto", None, "basis", "clr" and numbers in [0, 1]."""
    if isinstance(shrinkage, str):
        known = shrinkage in ("auto", "basis", "clr")
    else:
        known = shrinkage is None or (_number(shrinkage) and 0 <= shrinkage <= 1)
    if not known:
        raise ValueError(f'shrinkage is {shrinkage!r}: it must be "auto", None, "basis", "clr" or λ in [0, 1]')


def chosen_shrinkage(shrinkage: Any, samples: int, parts: int) -> Shrinkage:
    """What "auto" means for a table of this shape; warns of what is about to be lost."""
    if isinstance(shrinkage, str) and shrinkage == "auto":
        return "basis" if samples < 5 * parts else None
    if (shrinkage is None or (_number(shrinkage) and shrinkage == 0)) and samples < parts:
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
    return float(shrinkage) if _number(shrinkage) else shrinkage


def _number(shrinkage: Any) -> bool:
    return isinstance(shrinkage, Real) and not isinstance(shrinkage, bool)


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
    known = columns.shrinkage, columns.variance_shrinkage
    if centred and bool((columns.ridge == 0).all()):  # correlations as they are: nothing keeps Γ from being singular
        rows = columns.rows * columns.deviations
        precision, _, dependent = _from_rows(rows - rows.mean(1)[:, None])
        return Estimate(precision, *known, None, columns, centred, dependent)
    precision = shrunk_precision(columns, centred=centred)
    return Estimate(precision, *known, None, columns, centred, np.zeros(parts.shape[1], bool))


def _unshrunk(coordinates: Array) -> Estimate:
    samples = len(coordinates)
    rows = (coordinates - coordinates.mean(0)) / (samples - 1) ** 0.5
    precision, varies, dependent = _from_rows(rows)
    freedom = samples - int(varies.sum()) + 1
    tested = freedom >= 1 and not dependent.any()
    return Estimate(precision, 0.0, 0.0, freedom if tested else None, rows, True, dependent)


def _from_rows(rows: Array) -> tuple[Precision, np.ndarray, np.ndarray]:
    """(rowsᵀ rows)⁺ of centred rows (N, D), which columns vary at all, and which are tied to others.

    A part whose clr coordinate is constant is left out of account, as if it were not there.
    """
    varies = (rows * rows).sum(0) >= CONSTANT  # else rounding would be taken for variation
    found = pseudo_inverse(rows * varies)
    precision = replace(found, factor=found.factor * varies)  # eigenvectors are 0 there but for rounding
    return precision, as_numpy(varies), _dependent(found, as_numpy(varies), len(rows))


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
