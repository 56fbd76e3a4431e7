"""Integer noise on integer sums: OpenDP's exact samplers, an audited fast one, or a seed for tests.

Both laws live on the integers, so no floating-point number that depends on the noise can give a sum away:

    discrete Laplace   P(k) ∝ e^{−|k|/t}         variance 2q/(1 − q)², q = e^{−1/t}
    discrete Gaussian  P(k) ∝ e^{−k²/2σ²}        variance σ² (less, by a part of e^{−2π²σ²})

Source: Canonne, Kamath, Steinke, *The Discrete Gaussian for Differential Privacy*, NeurIPS 2020, arXiv:2004.00010.
"""

import math
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from normkit.estimators.private import fast_noise
from normkit.extras import require

__all__ = ["add_noise", "noise_variance", "opendp_measurement"]


def add_noise(
    values: Int[ndarray, "size"], mechanism: str, scale: float, source: str, seed: Any = None
) -> Int[ndarray, "size"]:
    """`values` plus independent integer noise of `scale`, which is in steps of the integers.

    Args:
        values: exact integer sums, shape (size,).
        mechanism: "laplace" (scale t) or "gaussian" (scale σ).
        scale: of the noise.
        source: "opendp", "fast", or "insecure" with a numpy seed.
        seed: only for "insecure".

    Raises:
        MissingExtraError: "opendp" where OpenDP is not installed.
    """
    if source == "opendp":
        return np.asarray(opendp_measurement(mechanism, scale)(values.tolist()), dtype=np.int64)
    if source == "fast":
        draw = fast_noise.discrete_laplace if mechanism == "laplace" else fast_noise.discrete_gaussian
        return values + draw(values.size, scale)
    return values + _insecure(values.size, mechanism, scale, np.random.default_rng(seed))


def opendp_measurement(mechanism: str, scale: float) -> Any:
    """OpenDP's measurement that adds the noise to integers; its `map` certifies ε or ρ for a sensitivity."""
    return _measurement(require("opendp.prelude", extra="private"), mechanism, scale)


@lru_cache(maxsize=64)
def _measurement(opendp: Any, mechanism: str, scale: float) -> Any:
    opendp.enable_features("contrib")
    domain = opendp.vector_domain(opendp.atom_domain(T="i64"))
    if mechanism == "laplace":
        return opendp.m.make_laplace(domain, opendp.l1_distance(T="i64"), scale=scale)
    return opendp.m.make_gaussian(domain, opendp.l2_distance(T="f64"), scale=scale)


def noise_variance(mechanism: str, scale: float) -> float:
    """Variance of the noise on one number, in steps squared."""
    if mechanism == "gaussian":
        return scale**2
    return 0.5 / math.sinh(0.5 / scale) ** 2 if 0.5 / scale < 300 else 0.0


def _insecure(size: int, mechanism: str, scale: float, rng: np.random.Generator) -> Int[ndarray, "size"]:
    if mechanism == "gaussian":
        return np.rint(rng.normal(0.0, scale, size)).astype(np.int64)
    # geometric by inversion: numpy's own saturates at large scales
    first, second = (np.floor(rng.exponential(scale, size)) for _ in range(2))
    return _whole(first - second)


def _whole(values: Float[ndarray, "size"]) -> Int[ndarray, "size"]:
    return values.astype(np.int64)
