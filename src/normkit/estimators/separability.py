"""Whether a hyperplane separates two classes, by how much, and how many steps each method can need to find one.

Source: Tyurin 2025, arXiv:2412.08424, sections 2 and 6.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped
from numpy import ndarray
from scipy.optimize import linprog, nnls

from normkit.estimators.logistic_steps import iteration_bound

__all__ = ["Separability", "margin", "separability_report"]

_FEW = 0.2
"""Below this share of the smaller class the mean gradient of plain descent is that of few samples, divided by all."""
_TIGHTER = 10.0
"""So many times smaller must the normalised bound be to be recommended for balanced classes."""


@dataclass(frozen=True)
class Separability:
    """What is known of two classes before a hyperplane is looked for.

    Attributes:
        separable: whether some hyperplane (through 0, where no column is constant) has each class on its own side.
        margin: μ, the distance of the nearest sample from the best one; 0 where there is none.
        radius: R, the largest length of a sample.
        n: samples.
        smaller_class: share of the samples that is in the smaller class.
        bounds: steps that suffice, by method; empty where nothing separates.
        recommended: the method to take, or None where nothing separates.
    """

    separable: bool
    margin: float
    radius: float
    n: int
    smaller_class: float
    bounds: dict[str, float]
    recommended: str | None

    def __str__(self) -> str:
        if not self.separable:
            return f"not separable: no hyperplane has the {self.n} samples of the two classes on different sides"
        bounds = ", ".join(f"{name} {steps:.3g}" for name, steps in self.bounds.items())
        return (
            f"separable, margin {self.margin:.3g} at radius {self.radius:.3g}; steps that suffice: {bounds}; "
            f"recommended: {self.recommended}"
        )


def margin(Z: Float[ndarray, "n d"]) -> float:
    """μ = max_{‖θ‖=1} min_i z_iᵀ θ, or 0 where no θ has all of them positive.

    It is the distance of 0 from the convex hull of the rows: min ‖Σ α_i z_i‖ over α ≥ 0 with Σ α = 1. A row of R in
    front of Zᵀ makes of that a least-squares problem with α ≥ 0 alone, whose solution is the same up to its length.
    Below about 10⁻⁹ of the radius a margin cannot be told from none, and is 0.

    Args:
        Z: rows z_i = y_i a_i, the samples times their labels ±1.

    Raises:
        ValueError: no sample, or numbers that are not finite.
    """
    if len(Z) == 0 or not np.isfinite(Z).all():
        raise ValueError(f"the margin of finite numbers is asked for, one sample at least; got {_blemish(Z)}")
    radius = _radius(Z)
    if radius == 0 or not _separates(Z):
        return 0.0
    system = np.vstack([Z.T / radius, np.ones(len(Z))])
    alpha, _ = nnls(system, np.append(np.zeros(Z.shape[1]), 1.0), maxiter=max(100, 30 * min(Z.shape)))
    return float(np.linalg.norm(Z.T @ (alpha / alpha.sum())))


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
        ValueError: not two classes, numbers of samples and labels that differ, or samples that are not finite.
    """
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) != 2 or len(A) != len(y):
        raise ValueError(
            f"two classes and a label a sample are wanted, got {len(classes)} classes, {A.shape}, {y.shape}"
        )
    rows = np.column_stack([A, np.ones(len(A))]) if fit_intercept else A
    Z = np.where(codes == 1, 1.0, -1.0)[:, None] * rows
    mu, radius, share = margin(Z), _radius(Z), float(np.bincount(codes).min() / len(y))
    if mu == 0:
        return Separability(False, 0.0, radius, len(Z), share, {}, None)
    names = ("normalized", "perceptron", "batch_perceptron")
    bounds = {name: iteration_bound(radius, mu, len(Z), step_size, name) for name in names}
    much_less = bounds["batch_perceptron"] > _TIGHTER * bounds["normalized"]
    return Separability(True, mu, radius, len(Z), share, bounds, "normalized" if share < _FEW or much_less else "plain")


def _blemish(Z: ndarray) -> str:
    return "no sample" if len(Z) == 0 else f"NaN or infinity in {int((~np.isfinite(Z)).any(1).sum())} of {len(Z)} rows"


def _radius(Z: ndarray) -> float:
    return float(np.linalg.norm(Z, axis=1).max(initial=0.0))


def _separates(Z: ndarray) -> bool:
    """Whether some θ has Z θ ≥ 1: a linear programme without a goal."""
    scale = np.linalg.norm(Z, axis=1, keepdims=True)
    if not scale.all():
        return False
    found = linprog(np.zeros(Z.shape[1]), A_ub=-Z / scale, b_ub=-np.ones(len(Z)), bounds=(None, None), method="highs")
    return bool(found.status == 0)
