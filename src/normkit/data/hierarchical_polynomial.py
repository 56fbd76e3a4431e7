"""Targets that are a polynomial of a polynomial: h = g(p(x)) with Gaussian x and an inner feature p of low degree.

Source: Wang, Nichani, Lee 2024, "Learning Hierarchical Polynomials with Three-Layer Neural Networks",
arXiv:2311.13774, section 2.
"""

from collections.abc import Callable, Sequence
from math import factorial, sqrt
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

__all__ = ["LINKS", "make_hierarchical_polynomial", "polynomial_feature"]

LINKS: dict[str, tuple[float, ...]] = {
    "linear": (0.0, 1.0),
    "quadratic": (0.0, sqrt(1 / 2), sqrt(1 / 2)),
    "cubic": (0.0, sqrt(1 / 3), sqrt(1 / 3), sqrt(1 / 3)),
    "even": (0.0, 0.0, 1.0),
}
"""Links by name: their coefficients in the orthonormal Hermite polynomials he_0, he_1, …; each has variance 1."""


def polynomial_feature(
    X: Float[np.ndarray, "samples d"],
    directions: Float[np.ndarray, "d l"],
    eigenvalues: Float[np.ndarray, " l"],
    degree: int = 2,
) -> Float[np.ndarray, " samples"]:
    """p(x) = L^{−1/2} Σ_i λ_i he_k(v_iᵀ x): the inner feature, nearly Gaussian for large L.

    With orthonormal v_i, mean(λ²) = 1 and x ~ N(0, I): E p = 0 and E p² = 1.

    Args:
        X: samples.
        directions: v_i, one a column.
        eigenvalues: λ_i.
        degree: k of the orthonormal Hermite polynomial he_k.

    Raises:
        ValueError: `degree` < 1.
    """
    if degree < 1:
        raise ValueError(f"degree is {degree}: the inner feature needs a degree of at least 1")
    return _hermite(X @ directions, [0.0] * degree + [1.0]) @ eigenvalues / sqrt(len(eigenvalues))


def make_hierarchical_polynomial(
    n: int,
    d: int,
    k: int = 2,
    link: str | Callable[[NDArray[Any]], NDArray[Any]] = "quadratic",
    eigenvalues: str | Sequence[float] | NDArray[Any] = "alternating",
    rotate: bool = True,
    noise: float = 0.0,
    random_state: Any = None,
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Samples of y = g(p(x)) + noise with x ~ N(0, I_d) and p of degree k: X (n, d), y (n,) and p (n,), all float64.

    Args:
        n: samples.
        d: dimension of x.
        k: degree of p.
        link: g, a function of p (n,), or its name: "linear", "quadratic" (z + he_2(z))/√2, "cubic"
            (z + he_2 + he_3)/√3, and "even", he_2, whose derivative is 0 in the mean so that no first stage sees it.
        eigenvalues: λ. "alternating" is +1, −1, … for all d directions, so that p is no function of ‖x‖; "equal" is +1
            for all (for k = 2 kernels learn that at once); or up to d numbers, which are scaled to a mean square of 1.
        rotate: whether the v_i are the columns of a random rotation, or the coordinate axes.
        noise: standard deviation of Gaussian noise on y.
        random_state: a seed, a numpy RandomState, or None.

    Raises:
        ValueError: a size below 1, a link or eigenvalues that are unknown, more than d or no eigenvalues, all of them
            0, or negative noise; the message names what came.
    """
    from sklearn.utils import check_random_state

    if min(n, d, k) < 1:
        raise ValueError(f"n = {n}, d = {d}, k = {k}: each must be at least 1")
    if not noise >= 0:
        raise ValueError(f"noise is {noise}: a standard deviation is at least 0")
    spectrum, g = _spectrum(eigenvalues, d), _link(link)
    draw = check_random_state(random_state)
    directions = _rotation(draw, d) if rotate else np.eye(d)
    X = draw.standard_normal((n, d))
    p = polynomial_feature(X, directions[:, : len(spectrum)], spectrum, k)
    y = np.asarray(g(p), dtype=np.float64)
    if y.shape != p.shape:
        raise ValueError(f"link gave the shape {y.shape} for p of shape {p.shape}: it must keep the shape")
    return X, y + noise * draw.standard_normal(n) if noise else y, p


def _hermite(t: NDArray[Any], coefficients: Sequence[float]) -> NDArray[Any]:
    """Σ_j coefficients[j] he_j(t), orthonormal: he_j = He_j / √j!."""
    scaled = [value / sqrt(factorial(j)) for j, value in enumerate(coefficients)]
    return np.asarray(np.polynomial.hermite_e.hermeval(t, scaled))


def _link(link: str | Callable[[NDArray[Any]], NDArray[Any]]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    if callable(link):
        return link
    if link not in LINKS:
        raise ValueError(f"link is {link!r}: give a function of p, or one of {', '.join(LINKS)}")
    coefficients = LINKS[link]
    return lambda p: _hermite(p, coefficients)


def _spectrum(eigenvalues: str | Sequence[float] | NDArray[Any], d: int) -> NDArray[Any]:
    if isinstance(eigenvalues, str):
        if eigenvalues not in ("alternating", "equal"):
            raise ValueError(f"eigenvalues is {eigenvalues!r}: give 'alternating', 'equal' or up to {d} numbers")
        return np.where(np.arange(d) % 2, -1.0, 1.0) if eigenvalues == "alternating" else np.ones(d)
    values = np.asarray(eigenvalues, dtype=np.float64)
    if values.ndim != 1 or not 1 <= len(values) <= d or not np.isfinite(values).all() or not values.any():
        raise ValueError(
            f"eigenvalues are {values.tolist()}: give from 1 to {d} finite numbers (d = {d}) that are not all 0"
        )
    return values / sqrt(np.mean(values**2))


def _rotation(draw: np.random.RandomState, d: int) -> NDArray[Any]:
    """An orthogonal matrix, uniform: the sign of R's diagonal is what QR leaves open."""
    q, r = np.linalg.qr(draw.standard_normal((d, d)))
    return q * np.sign(np.diagonal(r))
