"""What the layer-wise regressor checks before it works, and the way from it to the torch module."""

import math
import os
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from normkit.estimators._monomials import count
from normkit.estimators._parameters import check, check_choice, check_flag, check_seed, is_number, is_whole

if TYPE_CHECKING:
    from normkit.nn import LayerwiseThreeLayer

__all__ = ["check_link_memory", "check_memory", "check_options", "network_of"]


def check_options(estimator: Any) -> None:
    """Raise ValueError, naming the parameter, what came and what is wanted."""
    width = estimator.n_features_1
    check("degree", estimator.degree, is_whole(estimator.degree), "a whole number of at least 1")
    sizes = width is None or is_whole(width) or (isinstance(width, float) and width == math.inf)
    check("n_features_1", width, sizes, "None, math.inf or a whole number of at least 1")
    check("n_features_2", estimator.n_features_2, is_whole(estimator.n_features_2), "a whole number of at least 1")
    split = estimator.split
    check("split", split, is_number(split) and 0 < split < 1, "a number between 0 and 1")
    check_choice("solver", estimator.solver, ("exact", "gd"))
    _check_stages(estimator)
    for name in ("gaussianize", "center", "sync"):
        check_flag(name, getattr(estimator, name))
    check_seed(estimator.random_state)
    seeded = not estimator.sync or isinstance(estimator.random_state, Integral)
    check("random_state", estimator.random_state, seeded, "a seed with sync=True, so that all ranks draw the same")


def _check_stages(estimator: Any) -> None:
    """What is a pair: one for stage 1 and one for stage 2."""
    check("n_iter", estimator.n_iter, _pair(estimator.n_iter, is_whole), "a pair of whole numbers of at least 1")
    steps = _pair(estimator.step_size, lambda step: step is None or _positive(step))
    check("step_size", estimator.step_size, steps, "a pair, each a number above 0 or None")
    decays = _pair(estimator.weight_decay, lambda decay: _automatic(decay) or _positive(decay))
    decays = decays and not _automatic(estimator.weight_decay[1])
    check("weight_decay", estimator.weight_decay, decays, "a pair: 'auto' or a number above 0, and a number above 0")


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


def check_link_memory(samples: int, width: int) -> None:
    """Raise ValueError where the matrices of stage 2 do not fit into the machine's memory."""
    wanted = 8 * (2 * samples * width + 3 * width**2)
    if wanted > (there := _memory()):
        raise ValueError(
            f"n_features_2 = {width:,}: that many units on {samples:,} samples need {wanted / 2**30:,.1f} GiB, this "
            f"machine has {there / 2**30:,.1f}; the link is a curve, for which a few hundred are enough"
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


def _positive(value: Any) -> bool:
    return is_number(value) and value > 0


def _automatic(value: Any) -> bool:
    return isinstance(value, str) and value == "auto"


def _pair(values: Any, is_right: Any) -> bool:
    return isinstance(values, (tuple, list)) and len(values) == 2 and all(is_right(value) for value in values)


def _memory() -> float:
    """Bytes of this machine; unknown is taken as unlimited."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return math.inf
