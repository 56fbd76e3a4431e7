"""Single steps of (normalised) gradient descent on the logistic loss, and how many of them can be needed.

Source: Tyurin 2025, "From Logistic Regression to the Perceptron Algorithm: Exploring Gradient Descent with Large Step
Sizes", arXiv:2412.08424, sections 2 to 6.
"""

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from normkit.estimators._parameters import check, is_number, is_whole
from normkit.estimators._separation import METHODS

__all__ = ["iterates", "iteration_bound", "logistic_step"]

Rows = Float[ndarray, "n d"]
Theta = Float[ndarray, " d"]


def logistic_step(Z: Rows, theta: Theta, step_size: float, normalized: bool = True) -> Theta:
    """θ + γ Σ_i w_i z_i with w_i = s_i / Σ_j s_j, or s_i / n where not `normalized`; s_i = 1/(1 + e^{z_iᵀ θ}).

    Args:
        Z: rows z_i = y_i a_i, the samples times their labels ±1.
        theta: where the step starts.
        step_size: γ > 0.
        normalized: whether the weights add up to one, however few samples are wrong.

    Raises:
        ValueError: a step size that is not positive and finite, no sample, or a θ of another length.
    """
    _check_step_size(step_size)
    if Z.ndim != 2 or len(Z) == 0 or theta.shape != Z.shape[1:]:
        raise ValueError(f"Z (n, d) of one sample at least and theta (d,) are wanted, got {Z.shape} and {theta.shape}")
    weights = METHODS["normalized" if normalized else "plain"](Z @ theta[:, None], np.ones((len(Z), 1)), step_size, 0)
    return theta + Z.T @ weights[:, 0]


def iterates(Z: Rows, *, method: str = "normalized", step_size: float = 10.0) -> Iterator[Theta]:
    """θ_0 = 0, θ_1, θ_2, … without an end; where every margin z_iᵀ θ is positive the perceptrons stand still.

    Args:
        Z: rows z_i = y_i a_i, the samples times their labels ±1.
        method: as for `NormalizedLogisticRegression`.
        step_size: γ of "normalized" and "plain"; the perceptrons have none.

    Raises:
        ValueError: an unknown method, or a step size that is not positive and finite.
    """
    _check_step_size(step_size)
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    theta, ones, steps = np.zeros(Z.shape[1]), np.ones((len(Z), 1)), 0
    while True:
        yield theta
        theta = theta + Z.T @ METHODS[method](Z @ theta[:, None], ones, step_size, steps)[:, 0]
        steps += 1


def iteration_bound(R: float, mu: float, n: int, step_size: float = math.inf, method: str = "normalized") -> float:
    """How many steps from θ = 0 suffice at most for data of radius R and margin μ.

        normalized                               R²/μ² + 2 log(2n − 1)/(γ μ²)
        perceptron, normalized_batch_perceptron  R²/μ²
        batch_perceptron, plain with γ → ∞       n R²/μ²

    Args:
        R: the largest length of a sample.
        mu: the margin: the largest smallest distance max_{‖θ‖=1} min_i z_iᵀ θ from a hyperplane.
        n: samples.
        step_size: γ.
        method: as for `NormalizedLogisticRegression`.

    Raises:
        ValueError: R or μ that is not positive, no sample, an unknown method, or "plain" with a finite step size, for
            which no bound is known.
    """
    for name, value in {"R": R, "mu": mu}.items():
        check(name, value, is_number(value) and value > 0, "a positive and finite number")
    check("n", n, is_whole(n), "a whole number of at least 1")
    perceptron = (R / mu) ** 2
    if method in ("perceptron", "normalized_batch_perceptron"):
        return perceptron
    if method == "batch_perceptron" or (method == "plain" and math.isinf(step_size)):
        return n * perceptron
    if method != "normalized":
        reason = (
            "no bound is known for a finite step size" if method == "plain" else f"methods are {', '.join(METHODS)}"
        )
        raise ValueError(f"method {method!r}: {reason}")
    if step_size != math.inf:
        _check_step_size(step_size)
    return perceptron + 2 * math.log(2 * n - 1) / (step_size * mu**2)


def _check_step_size(step_size: float) -> None:
    check("step_size", step_size, is_number(step_size) and step_size > 0, "a positive and finite number")
