"""Compositions: parts of a whole, whose total says nothing, and their log-ratio coordinates.

    closure(x)   = x / Σ_k x_k
    clr(x)_i     = log x_i − mean_k log x_k                       D coordinates that sum to 0
    alr(x)_i     = log(x_i / x_r)                                  D − 1, relative to the reference part r
    ilr(x)       = clr(x) Ψᵀ, Ψ Ψᵀ = I, Ψ 1 = 0                    D − 1, an isometry

None of the three depends on the total of x. Arrays have shape (…, D), parts on the last axis; everything is computed
in float64, and in logarithms, so that no product of parts under- or overflows.

Source: J. Aitchison (1986), The Statistical Analysis of Compositional Data, chapters 2 and 4; ilr from Egozcue et al.
(2003), Isometric Logratio Transformations for Compositional Data Analysis, Mathematical Geology 35.
"""

from numbers import Integral
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.special import softmax

from normkit.estimators._parts import tabled

__all__ = ["alr", "alr_inv", "checked_basis", "closure", "clr", "clr_inv", "ilr", "ilr_inv", "orthonormal_basis"]


def closure(X: ArrayLike) -> Any:
    """x / Σ_k x_k: every composition divided by its total.

    Args:
        X: (…, D) parts, not negative, in any unit.

    Returns:
        (…, D) proportions that sum to 1; a DataFrame where X is one.

    Raises:
        ValueError: a part is negative or not finite, or a composition has no part above 0.
    """
    parts = _parts(X)
    if (parts < 0).any():
        raise ValueError("a part is negative: compositions are amounts or shares, not log-ratios or differences")
    largest = parts.max(-1, keepdims=True)
    if (largest == 0).any():
        raise ValueError("a composition has only zeros, so it has no proportions: leave that sample out")
    scaled = parts / largest  # else the sum could overflow
    return tabled(scaled / scaled.sum(-1, keepdims=True), X)


def clr(X: ArrayLike) -> Any:
    """Centred log-ratio: log x_i − mean_k log x_k.

    Args:
        X: (…, D) positive parts, closed or not.

    Returns:
        (…, D) coordinates that sum to 0, in nats; a DataFrame where X is one.

    Raises:
        ValueError: a part is zero, negative or not finite.
    """
    logs = _logs(X)
    return tabled(logs - logs.mean(-1, keepdims=True), X)


def clr_inv(Z: ArrayLike) -> Any:
    """Proportions with the centred log-ratios Z: exp z_i / Σ_k exp z_k, (…, D) to (…, D).

    A DataFrame where Z is one.
    """
    return tabled(softmax(_parts(Z), axis=-1), Z)


def alr(X: ArrayLike, reference: Any = 0) -> Float[np.ndarray, "*batch coordinates"]:
    """Additive log-ratio: log(x_i / x_r) for all parts but the reference r, in their order.

    Args:
        X: (…, D) positive parts, closed or not.
        reference: index of the part that all others are divided by; negative counts from the end.

    Returns:
        (…, D − 1) coordinates in nats.

    Raises:
        ValueError: a part is zero, negative or not finite, or there is no part of that index.
    """
    logs = _logs(X)
    place = _place(reference, logs.shape[-1])
    return np.delete(logs, place, axis=-1) - logs[..., place, None]


def alr_inv(Y: ArrayLike, reference: Any = 0) -> Float[np.ndarray, "*batch parts"]:
    """Proportions with the additive log-ratios Y to the part `reference`, (…, D − 1) to (…, D).

    Raises:
        ValueError: there is no part of that index.
    """
    coordinates = _parts(Y)
    place = _place(reference, coordinates.shape[-1] + 1)
    return softmax(np.insert(coordinates, place, 0.0, axis=-1), axis=-1)


def ilr(X: ArrayLike, basis: Any = None) -> Float[np.ndarray, "*batch coordinates"]:
    """Isometric log-ratio: clr(x) Ψᵀ with an orthonormal basis Ψ of the vectors that sum to 0.

    Args:
        X: (…, D) positive parts, closed or not.
        basis: (D − 1, D), rows orthonormal and of sum 0; `orthonormal_basis(D)` by default.

    Returns:
        (…, D − 1) coordinates in nats; Euclidean distances are Aitchison's.

    Raises:
        ValueError: a part is zero, negative or not finite, or the basis is none.
    """
    coordinates = clr(_parts(X))
    return coordinates @ checked_basis(basis, coordinates.shape[-1]).T


def ilr_inv(Y: ArrayLike, basis: Any = None) -> Float[np.ndarray, "*batch parts"]:
    """Proportions with the isometric log-ratios Y in `basis`, (…, D − 1) to (…, D).

    Raises:
        ValueError: the basis is none of D parts.
    """
    coordinates = _parts(Y)
    return softmax(coordinates @ checked_basis(basis, coordinates.shape[-1] + 1), axis=-1)


def orthonormal_basis(parts: Any) -> Float[np.ndarray, "coordinates parts"]:
    """ψ_j = sqrt(j/(j + 1)) (1/j, …, 1/j, −1, 0, …): each part against the mean of those before it (Helmert).

    Args:
        parts: D, at least 2.

    Returns:
        (D − 1, D), rows orthonormal and of sum 0.

    Raises:
        ValueError: fewer than 2 parts.
    """
    if not isinstance(parts, Integral) or int(parts) < 2:
        raise ValueError(f"parts is {parts!r}: a whole number of at least 2 is wanted")
    before = np.arange(1, int(parts))[:, None]
    place = np.arange(int(parts))
    rows = np.where(place < before, 1 / before, np.where(place == before, -1.0, 0.0))
    return rows * np.sqrt(before / (before + 1))


def _parts(X: ArrayLike) -> Float[np.ndarray, "*batch parts"]:
    parts = np.asarray(X, dtype=np.float64)
    if parts.ndim == 0 or parts.shape[-1] < 1:
        raise ValueError(f"an array of shape {parts.shape} came: parts on the last axis, (…, D), are wanted")
    if not np.isfinite(parts).all():
        raise ValueError("a value is not finite: leave the sample out, or fill it in")
    return parts


def _logs(X: ArrayLike) -> Float[np.ndarray, "*batch parts"]:
    parts = _parts(X)
    if (parts <= 0).any():
        kind = "negative" if (parts < 0).any() else "zero"
        raise ValueError(f"a part is {kind}, and its logarithm is wanted: see normkit.estimators.replace_zeros")
    return np.log(parts)


def _place(reference: Any, parts: int) -> int:
    whole = isinstance(reference, Integral) and not isinstance(reference, bool | np.bool_)
    if not (whole and -parts <= reference < parts):
        raise ValueError(f"reference is {reference!r}: there are {parts} parts, 0 to {parts - 1}")
    return int(reference) % parts


def checked_basis(basis: Any, parts: int) -> Float[np.ndarray, "coordinates parts"]:
    """The basis as an array, or `orthonormal_basis(parts)` where it is None.

    Raises:
        ValueError: not numbers, of another shape, or its rows are not orthonormal and of sum 0.
    """
    if basis is None:
        return orthonormal_basis(parts)
    try:
        rows = np.asarray(basis, dtype=np.float64)
    except (ValueError, TypeError):
        raise ValueError(f"basis holds no numbers: an array ({parts - 1}, {parts}) is wanted, or None") from None
    if rows.shape != (parts - 1, parts):
        raise ValueError(f"basis has shape {rows.shape}: ({parts - 1}, {parts}) is wanted for {parts} parts")
    if not np.allclose(rows @ rows.T, np.eye(parts - 1), atol=1e-8) or not np.allclose(rows.sum(1), 0, atol=1e-8):
        raise ValueError("the rows of basis must be orthonormal and each must sum to 0")
    return rows
