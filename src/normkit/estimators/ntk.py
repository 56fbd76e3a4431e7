"""Kernels of infinitely wide networks of finite depth, exact.

    s^0 = k^0 = ξ = xᵀx′,   s^l = φ̌(s^(l−1)),   k^l = s^l + k^(l−1) φ̌′(s^(l−1))

s is the kernel where only the last layer trains (NNGP), k where all do (NTK parametrisation, weights N(0, 1), no bias).
The fixed point ξ = 1 repels, so near it the recursion runs in δ = 1 − ξ.

Source: Jacot, Gabriel, Hongler 2018, arXiv:1806.07572; Radhakrishnan, Belkin, Uhler 2023, arXiv:2204.14126.
"""

import math
from typing import Any, Literal, SupportsInt, overload

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from normkit.estimators._parameters import is_number
from normkit.estimators.dual_activation import Dual, dual_activation

__all__ = ["gaps", "log_kernel", "ntk"]

Gram = Float[ndarray, "n m"]


@overload
def ntk(
    X1: ndarray, X2: ndarray | None, activation: Any, depth: SupportsInt, get: Literal["ntk", "nngp"] = "ntk"
) -> ndarray: ...
@overload
def ntk(
    X1: ndarray, X2: ndarray | None, activation: Any, depth: SupportsInt, get: Literal["both"]
) -> tuple[ndarray, ndarray]: ...
def ntk(
    X1: Float[ndarray, "n features"],
    X2: Float[ndarray, "m features"] | None,
    activation: Any,
    depth: SupportsInt,
    get: str = "ntk",
) -> Gram | tuple[Gram, Gram]:
    """Kernel matrix of a network with `depth` hidden layers.

    Args:
        X1: rows of norm 1.
        X2: the same; None is X1, and the diagonal then ξ = 1 exactly.
        activation: Hermite coefficients, or whatever `dual_activation` takes.
        depth: L ≥ 1.
        get: "ntk" (all layers trained), "nngp" (the last one) or "both", in that order.

    Raises:
        ValueError: depth < 1 or no integer, an unknown `get`, rows that are not of norm 1.
    """
    check_depth(depth)
    if get not in ("ntk", "nngp", "both"):
        raise ValueError(f"get is 'ntk', 'nngp' or 'both', not {get!r}")
    other = X1 if X2 is None else X2
    for rows in (X1, other):
        if not np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6):
            raise ValueError("ntk: every row must have norm 1; divide by np.linalg.norm(X, axis=1, keepdims=True)")
    dual, delta = dual_activation(activation), gaps(np.asarray(X1, float), np.asarray(other, float))
    s = k = 1 - delta
    for _ in range(int(depth)):
        slope = dual.derivative(s)
        delta, s = _step(dual, delta, s)
        k = s + k * slope
    return (k, s) if get == "both" else k if get == "ntk" else s


def gaps(X1: Float[ndarray, "n features"], X2: Float[ndarray, "m features"]) -> Gram:
    """δ = ½‖x − x′‖² of rows of norm 1; below 1e-6 by differences, since 1 − xᵀx′ has no digits there."""
    delta = 1 - X1 @ X2.T
    rows, columns = np.nonzero(delta < 1e-6)
    delta[rows, columns] = np.square(X1[rows] - X2[columns]).sum(1) / 2
    return delta


def log_kernel(
    delta: Float[ndarray, "*shape"], xi: Float[ndarray, "*shape"], activation: Any, depth: int, kernel: str
) -> Float[ndarray, "*shape"]:
    """log s^L or log k^L at ξ = 1 − δ ≥ 0: a deep kernel over- and underflows, its logarithm does not."""
    dual = dual_activation(activation)
    order, first = dual.lowest
    with np.errstate(divide="ignore", invalid="ignore"):
        log_s = np.log(xi)
        log_k = log_s
        for _ in range(int(depth)):
            tiny = (xi < 1e-20) & (order > 0)
            log_slope = np.log(dual.derivative(xi))
            log_slope = np.where(tiny, math.log(max(order, 1) * first) + _times(order - 1, log_s), log_slope)
            delta, xi = _step(dual, delta, xi)
            log_s = np.where(tiny, math.log(first) + _times(order, log_s), np.log(xi))
            log_k = np.logaddexp(log_s, log_k + log_slope)
    return log_k if kernel == "ntk" else log_s


def check_depth(depth: Any) -> None:
    """A number of hidden layers.

    Raises:
        ValueError: it is no integer of at least 1.
    """
    if not (is_number(depth) and depth == int(depth) and depth >= 1):
        raise ValueError(f"depth is {depth!r}: it must be a number of hidden layers, an integer of at least 1")


def _step(dual: Dual, delta: Any, xi: Any) -> tuple[Any, Any]:
    """One layer, in whichever of δ and ξ is the small one."""
    near = delta < 0.5
    gap, value = dual.gap(delta), dual(xi)
    return np.where(near, gap, 1 - value), np.where(near, 1 - gap, value)


def _times(factor: int, logarithm: Any) -> Any:
    """factor · logarithm with 0 · (−∞) = 0."""
    return factor * logarithm if factor else np.zeros_like(logarithm)
