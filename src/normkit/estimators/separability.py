"""Whether a hyperplane separates two classes, by how much, and how many steps each method can need to find one.

Source: Tyurin 2025, arXiv:2412.08424, sections 2 and 6.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped
from numpy import ndarray
from scipy.optimize import linprog, nnls

from normkit.estimators._parameters import check, is_number
from normkit.estimators.logistic_steps import iteration_bound

__all__ = ["Separability", "margin", "separability_report"]

_ROUNDING = 1e-13
"""Of the radius: what a sum of terms of that size is off by. A smaller margin is none of the data's."""
_NARROW = 1e-3
"""Of the radius: below it a million steps may be needed, often for features of very different lengths."""
_FEW = 0.2
"""Below this share of the smaller class the mean gradient of plain descent is that of few samples, divided by all."""
_TIGHTER = 10.0
"""So many times smaller must the normalised bound be to be recommended for balanced classes."""


@dataclass(frozen=True)
class Separability:
    """What is known of two classes before a hyperplane is looked for.

    Whether they are separable depends neither on the units nor, with an intercept, on the origin of the features. μ and
    R are in their unit, with the intercept's column of ones counted in; μ/R and the perceptrons' bounds (R/μ)² stay the
    same where all columns of the samples, that one included, are multiplied by one number. The second part of the
    normalised bound, 2 log(2n − 1)/(γ μ²), does not: a step γ is one of a certain length.

    Attributes:
        separable: whether some hyperplane (through 0, where no column is constant) has each class on its own side.
        margin: μ, the distance of the nearest sample from the best one; 0 where there is none, or none that float64
            can tell from 0 at this radius.
        radius: R, the largest length of a sample.
        n: samples.
        smaller_class: share of the samples that is in the smaller class.
        bounds: steps that suffice, by method; empty where μ is 0.
        recommended: the method to take, or None where nothing separates.
    """

    separable: bool
    margin: float
    radius: float
    n: int
    smaller_class: float
    bounds: dict[str, float]
    recommended: str | None

    @property
    def relative_margin(self) -> float:
        """μ/R, from 0 to 1: the margin in the length of the largest sample, a number without unit."""
        return self.margin / self.radius if self.radius else 0.0

    def __str__(self) -> str:
        if not self.separable:
            return f"not separable: no hyperplane has the {self.n} samples of the two classes on different sides"
        if self.margin == 0:
            return (
                f"separable, by a margin that vanishes beside the radius {self.radius:.3g}: no bound on the steps; "
                "standardize the features"
            )
        bounds = ", ".join(f"{name} {steps:.3g}" for name, steps in self.bounds.items())
        advice = "; standardized features may have a far larger one" if self.relative_margin < _NARROW else ""
        return (
            f"separable, margin {self.margin:.3g}, {self.relative_margin:.3g} of the radius{advice}; "
            f"steps that suffice: {bounds}; recommended: {self.recommended}"
        )


def margin(Z: Float[ndarray, "n d"]) -> float:
    """μ = max_{‖θ‖=1} min_i z_iᵀ θ, or 0 where no θ has all of them positive.

    It is the distance of 0 from the convex hull of the rows: min ‖Σ α_i z_i‖ over α ≥ 0 with Σ α = 1. A row of R in
    front of Zᵀ makes of that a least-squares problem with α ≥ 0 alone, whose solution is the same up to its length.
    Columns of other units than their neighbours are no matter, as long as rounding leaves something of the margin:
    about 10⁻¹³ of the radius.

    Args:
        Z: rows z_i = y_i a_i, the samples times their labels ±1.

    Raises:
        ValueError: no sample, or numbers that are not finite.
    """
    Z = np.asarray(Z, dtype=np.float64)
    if len(Z) == 0 or not np.isfinite(Z).all():
        raise ValueError(f"the margin of finite numbers is asked for, one sample at least; got {_blemish(Z)}")
    return _margin(Z) if _separates(Z) else 0.0


def _margin(Z: Float[ndarray, "n d"]) -> float:
    """μ of rows that can be separated."""
    radius = _radius(Z)
    system = np.vstack([Z.T / radius, np.ones(len(Z))])
    alpha, _ = nnls(system, np.append(np.zeros(Z.shape[1]), 1.0), maxiter=max(100, 30 * min(Z.shape)))
    mu = float(np.linalg.norm(Z.T @ (alpha / alpha.sum())))
    return mu if mu > _ROUNDING * radius else 0.0


def separability_report(
    A: Float[ndarray, "n d"], y: Shaped[ndarray, " n"], *, step_size: float = 10.0, fit_intercept: bool = True
) -> Separability:
    """Separable or not, the margin, the bounds on the steps, and the method to take.

    Normalised descent is recommended where the smaller class has less than a fifth of the samples, or its bound is ten
    times below that of plain descent with large steps (n R²/μ²); else plain descent, which can then be faster.

    Args:
        A: samples.
        y: two kinds of labels; the one that sorts second is the class +1.
        step_size: γ of the normalised method's bound.
        fit_intercept: whether a constant column of ones belongs to the samples.

    Raises:
        ValueError: not two classes, numbers of samples and labels that differ, samples that are not finite, or a step
            size that is not positive and finite.
    """
    A = np.asarray(A, dtype=np.float64)
    classes, codes = np.unique(np.asarray(y), return_inverse=True)
    if len(classes) != 2 or len(A) != len(y):
        raise ValueError(
            f"two classes and a label a sample are wanted, got {len(classes)} classes, {A.shape}, {np.shape(y)}"
        )
    check("step_size", step_size, is_number(step_size) and step_size > 0, "a positive and finite number")
    signs = np.where(codes == 1, 1.0, -1.0)[:, None]
    Z = signs * (np.column_stack([A, np.ones(len(A))]) if fit_intercept else A)
    if not np.isfinite(Z).all():
        raise ValueError(f"the separability of finite numbers is asked for; got {_blemish(Z)}")
    radius, share = _radius(Z), float(np.bincount(codes).min() / len(y))
    if not _separates(signs * np.column_stack([A - A.mean(0), np.ones(len(A))]) if fit_intercept else Z):
        return Separability(False, 0.0, radius, len(Z), share, {}, None)
    mu, names = _margin(Z), ("normalized", "perceptron", "batch_perceptron")
    bounds = {name: iteration_bound(radius, mu, len(Z), step_size, name) for name in names} if mu else {}
    much_less = not mu or bounds["batch_perceptron"] > _TIGHTER * bounds["normalized"]
    return Separability(True, mu, radius, len(Z), share, bounds, "normalized" if share < _FEW or much_less else "plain")


def _blemish(Z: ndarray) -> str:
    return "no sample" if len(Z) == 0 else f"NaN or infinity in {int((~np.isfinite(Z)).any(1).sum())} of {len(Z)} rows"


def _radius(Z: ndarray) -> float:
    return float(np.linalg.norm(Z, axis=1).max(initial=0.0))


def _separates(Z: ndarray) -> bool:
    """Whether some θ has Z θ ≥ 1: a linear programme without a goal.

    Each column is divided by its largest entry, which only changes the unit of that θ_j, and each row by its length,
    which changes no sign: what is found does not depend on the units.
    """
    largest = np.abs(Z).max(0)
    rows = Z[:, largest > 0] / largest[largest > 0]
    scale = np.linalg.norm(rows, axis=1, keepdims=True)
    if not scale.all():
        return False
    rows = rows / scale
    found = linprog(np.zeros(rows.shape[1]), A_ub=-rows, b_ub=-np.ones(len(rows)), bounds=(None, None), method="highs")
    return bool(found.status == 0)
