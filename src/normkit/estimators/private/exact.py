"""The sums that the private structures estimate, computed exactly from the data and in bounded memory.

Not private: for measuring how far an answer is off, with data of one's own.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.distance import cdist

from normkit.estimators._parameters import check_choice
from normkit.estimators.private.features import KERNELS

__all__ = ["exact_distance_sums", "exact_kernel_sums"]

_BLOCK = 2**22  # distances held at once

_OF_DISTANCE: dict[str, tuple[str, Callable[[ndarray], ndarray]]] = {
    "gaussian": ("sqeuclidean", lambda h: np.exp(-h)),
    "exponential": ("euclidean", lambda h: np.exp(-h)),
    "laplacian": ("cityblock", lambda h: np.exp(-h)),
    "cauchy": ("sqeuclidean", lambda h: 1 / (1 + h)),
    "inv_l2": ("euclidean", lambda h: 1 / (1 + h)),
    "inv_l1": ("cityblock", lambda h: 1 / (1 + h)),
}


def exact_kernel_sums(
    X: Float[ndarray, "n d"], Y: Float[ndarray, "q d"], kernel: str = "gaussian", bandwidth: float | int = 1.0
) -> Float[ndarray, "q"]:
    """Σ_x f((x − y)/bandwidth) for each query y, in O(n q d).

    Raises:
        ValueError: the kernel is none of `KERNELS`.
    """
    check_choice("kernel", kernel, KERNELS)
    metric, function = _OF_DISTANCE[kernel]
    return _sums(X / bandwidth, Y / bandwidth, metric, function)


def exact_distance_sums(
    X: Float[ndarray, "n d"], Y: Float[ndarray, "q d"], metric: str = "l1", p: float | int | None = None
) -> Float[ndarray, "q"]:
    """Σ_x of ‖x − y‖₁ ("l1"), ‖x − y‖₂ ("l2"), ‖x − y‖₂² ("sqeuclidean") or Σ_j |x_j − y_j|^p ("lp"), each query.

    Raises:
        ValueError: the metric is none of these, or "lp" without p.
    """
    if metric == "lp":
        if p is None:
            raise ValueError("metric 'lp' needs p, the power of each coordinate's difference")
        return _sums(X, Y, "minkowski", lambda h: h**p, p=p)
    names = {"l1": "cityblock", "l2": "euclidean", "sqeuclidean": "sqeuclidean"}
    check_choice("metric", metric, (*names, "lp"))
    return _sums(X, Y, names[metric], lambda h: h)


def _sums(
    X: Float[ndarray, "n d"],
    Y: Float[ndarray, "q d"],
    metric: str,
    function: Callable[[ndarray], ndarray],
    **options: float | int,
) -> Float[ndarray, "q"]:
    step = max(1, _BLOCK // max(1, len(X)))
    blocks = (function(cdist(Y[start : start + step], X, metric, **options)) for start in range(0, len(Y), step))
    return np.concatenate([block.sum(axis=1) for block in blocks]) if len(Y) else np.zeros(0)
