"""What the layer-wise regressor checks before it works, and the way from it to the torch module."""

import math
import os
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from normkit.estimators._monomials import count

if TYPE_CHECKING:
    from normkit.nn import LayerwiseThreeLayer

__all__ = ["check_memory", "check_options", "network_of"]


def check_options(estimator: Any) -> None:
    """Raise ValueError, naming the parameter, what came and what is wanted."""
    width = estimator.n_features_1
    _check("degree", estimator.degree, _whole(estimator.degree), "a whole number of at least 1")
    sizes = width is None or width == math.inf or _whole(width)
    _check("n_features_1", width, sizes, "None, math.inf or a whole number of at least 1")
    _check("n_features_2", estimator.n_features_2, _whole(estimator.n_features_2), "a whole number of at least 1")
    split = estimator.split
    _check("split", split, _positive(split) and split < 1, "between 0 and 1")
    _check("solver", estimator.solver, estimator.solver in ("exact", "gd"), "'exact' or 'gd'")
    _check("n_iter", estimator.n_iter, _pair(estimator.n_iter, _whole), "two whole numbers of at least 1")
    steps = _pair(estimator.step_size, lambda step: step is None or _positive(step))
    _check("step_size", estimator.step_size, steps, "two numbers above 0 or None")
    decays = _pair(estimator.weight_decay, lambda decay: decay == "auto" or _positive(decay))
    decays = decays and estimator.weight_decay[1] != "auto"
    _check("weight_decay", estimator.weight_decay, decays, "'auto' or a number above 0, and a number above 0")
    seeded = not estimator.sync or isinstance(estimator.random_state, Integral)
    _check("random_state", estimator.random_state, seeded, "a seed with sync=True, so that all ranks draw the same")


def check_memory(samples: int, d: int, degree: int, width: int | float) -> None:
    """Raise ValueError where the matrices of stage 1 do not fit into the machine's memory."""
    terms = count(d, degree)
    fewest = min(samples, width, terms)
    # Two matrices of sums and a decomposition, or a kernel, its weighted copy and a decomposition; V, and the units as
    # polynomials with their decomposition.
    units = 0 if width == math.inf else width * (d + (3 * terms if terms == fewest else 0))
    wanted = 8 * (3 * fewest**2 + units)
    if wanted > (there := _memory()):
        raise ValueError(
            f"n_features = {d}, degree = {degree}: {width:,.0f} random features on {samples:,} samples need "
            f"{wanted / 2**30:,.1f} GiB, this machine has {there / 2**30:,.1f}; lower degree or n_features_1, or "
            "select features"
        )


def network_of(estimator: Any) -> "LayerwiseThreeLayer":
    """The fitted network; the scaler goes into V and s: V (x − μ)/σ = (V/σ) x − V μ/σ."""
    from normkit.nn import LayerwiseThreeLayer

    if estimator.gaussianize or estimator.n_features_1 == math.inf:
        raise ValueError(
            f"gaussianize={estimator.gaussianize}, n_features_1={estimator.n_features_1}: neither ranks nor infinitely "
            "many units are a torch module; fit with gaussianize=False and a finite n_features_1"
        )
    V = estimator.directions_ / estimator.scaler_.scale_
    values = {
        "u": estimator.coef_1_,
        "c": estimator.coef_2_,
        "V": V,
        "s": -V @ estimator.scaler_.mean_,
        "a": estimator.signs_,
        "b": estimator.offsets_,
        "feat_mean": estimator.feature_mean_,
        "feat_std": estimator.feature_std_,
        "intercept": estimator.intercept_,
    }
    sizes = (V.shape[1], estimator.degree, V.shape[0], len(estimator.coef_2_))
    net = LayerwiseThreeLayer(*sizes, dtype=torch.float64)
    net.load_state_dict({name: torch.as_tensor(np.array(value)) for name, value in values.items()})
    return net


def _check(name: str, value: Any, is_right: bool, wanted: str) -> None:
    if not is_right:
        raise ValueError(f"{name} is {value!r}: it must be {wanted}")


def _whole(value: Any) -> bool:
    return isinstance(value, Integral) and value is not True and int(value) >= 1


def _positive(value: Any) -> bool:
    return isinstance(value, Real) and 0 < float(value) < math.inf


def _pair(values: Any, is_right: Any) -> bool:
    return isinstance(values, (tuple, list)) and len(values) == 2 and all(is_right(value) for value in values)


def _memory() -> float:
    """Bytes of this machine; unknown is taken as unlimited."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return math.inf
