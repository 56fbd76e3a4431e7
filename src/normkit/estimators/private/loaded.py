"""What a file of a release held, looked at before it answers anything: the parts that there must be, and their shapes.

Every function raises ValueError where the parts cannot have been released together.
"""

import math
from typing import Any

import numpy as np

from normkit.estimators._parameters import check_choice, check_number, check_whole
from normkit.estimators.private.distance_options import check_query, check_structure
from normkit.estimators.private.features import KERNELS
from normkit.estimators.private.release import MECHANISMS, RELATIONS, SOURCES

__all__ = ["check_classifier", "check_density", "check_distance", "check_release"]

_PARTS_OF = {
    "l1": {"nodes_", "ranges_"},
    "lp": {"nodes_", "ranges_"},
    "l2": {"nodes_", "ranges_", "center_", "radius_", "directions_"},
    "sqeuclidean": {"moments_", "center_", "radius_"},
}


def check_release(loaded: Any) -> None:
    """Of any kind: the spend, the noise and the names of columns."""
    check_whole("n_features_in", loaded.n_features_in_, 1, "a number of columns")
    check_number("noise_variance", loaded.noise_variance_, 0.0, "a number", closed=True)
    spend = loaded.spend_
    for name in ("sensitivity", "scale", "epsilon", "delta", "rho"):
        check_number(name, getattr(spend, name), 0.0, "a number", closed=True)
    check_whole("parts", spend.parts, 1, "a number of parts")
    if len({name for name in spend.releases if type(name) is str}) != len(spend.releases) or (
        len(spend.releases) != spend.parts
    ):
        raise ValueError(f"releases are {len(spend.releases)}, and a name for each of {spend.parts} parts is wanted")
    for name, choices in (("mechanism", MECHANISMS), ("relation", RELATIONS), ("source", (*SOURCES, "insecure"))):
        check_choice(name, getattr(spend, name), choices)
    names = getattr(loaded, "feature_names_in_", None)
    if names is not None and (names.shape != (loaded.n_features_in_,) or not all(type(n) is str for n in names)):
        raise ValueError(f"names of {loaded.n_features_in_} columns are wanted")


def check_density(loaded: Any) -> None:
    """Of a kernel density: frequencies, sums and the count."""
    check_choice("kernel", loaded.kernel_, KERNELS)
    check_number("bandwidth", loaded.bandwidth_, 0.0, "a number above 0")
    count = _check_frequencies(loaded.frequencies_, loaded.projection_, loaded.n_features_in_)
    _check_shape("sums", loaded.sums_, (1, 2 * count))
    check_number("count", loaded.count_, -math.inf, "a number")


def check_classifier(loaded: Any) -> None:
    """Of a classifier: labels, frequencies, sums and counts."""
    check_choice("similarity", loaded.similarity_, ("inner", *KERNELS))
    if not isinstance(loaded.classes_, np.ndarray) or loaded.classes_.ndim != 1 or len(np.unique(loaded.classes_)) < 2:
        raise ValueError(f"classes is {loaded.classes_!r}, and is a list of two labels or more")
    size = loaded.n_features_in_
    if loaded.similarity_ != "inner":
        check_number("bandwidth", loaded.bandwidth_, 0.0, "a number above 0")
        size = 2 * _check_frequencies(loaded.frequencies_, loaded.projection_, size)
    elif any(part is not None for part in (loaded.frequencies_, loaded.projection_, loaded.bandwidth_)):
        raise ValueError("similarity is 'inner', and there are frequencies or a bandwidth")
    _check_shape("sums", loaded.sums_, (len(loaded.classes_), size))
    if loaded.counts_ is not None:
        _check_shape("counts", loaded.counts_, (len(loaded.classes_),))


def check_distance(loaded: Any) -> None:
    """Of sums of distances: the parts that this metric has."""
    check_structure(loaded.metric_, loaded.p_, (0.0, 1.0), None, 1)
    check_query(loaded.metric_, loaded.query, loaded.alpha)
    there = {name for name in set().union(*_PARTS_OF.values()) if getattr(loaded, name) is not None}
    if there != _PARTS_OF[loaded.metric_]:
        raise ValueError(f"metric is {loaded.metric_!r}, and there are {', '.join(sorted(there))}")
    if loaded.metric_ != "lp" and loaded.p_ is not None:
        raise ValueError(f"metric is {loaded.metric_!r}, and there is a power p")
    check_number("count", loaded.count_, -math.inf, "a number")
    dims = trees = loaded.n_features_in_
    if loaded.metric_ in ("l2", "sqeuclidean"):
        _check_shape("center", loaded.center_, (dims,))
        check_number("radius", loaded.radius_, 0.0, "a number above 0")
    if loaded.metric_ == "sqeuclidean":
        _check_shape("moments", loaded.moments_, (dims + 2,))
        return
    if loaded.metric_ == "l2":
        trees = int(np.shape(loaded.directions_)[-1])
        _check_shape("directions", loaded.directions_, (dims, trees))
    _check_shape("ranges", loaded.ranges_, (trees, 2))
    if not np.all(loaded.ranges_[:, 0] < loaded.ranges_[:, 1]):
        raise ValueError("ranges is not low < high in each tree")
    nodes = int(np.shape(loaded.nodes_)[-1])
    _check_shape("nodes", loaded.nodes_, (trees, nodes))
    if nodes < 3 or nodes & (nodes + 1):
        raise ValueError(f"nodes are {nodes} a tree, and no number of nodes that a binary tree has")


def _check_frequencies(frequencies: Any, projection: Any, dims: int) -> int:
    """The number of frequencies; ValueError where they do not fit rows of `dims` columns."""
    if projection is not None:
        _check_shape("projection", projection, (dims, np.shape(projection)[-1]))
        dims = projection.shape[1]
    _check_shape("frequencies", frequencies, (dims, np.shape(frequencies)[-1]))
    return int(frequencies.shape[1])


def _check_shape(name: str, value: Any, shape: tuple[int, ...]) -> None:
    """ValueError unless `value` is an array of finite float64 of this shape."""
    if not isinstance(value, np.ndarray) or value.dtype != np.float64:
        kind = f"of {value.dtype}" if isinstance(value, np.ndarray) else repr(value)
        raise ValueError(f"{name} is {kind}, and an array of float64 is wanted")
    if value.shape != shape:
        raise ValueError(f"{name} has shape {value.shape}, and {shape} is wanted")
    if not np.all(np.isfinite(value)):
        raise ValueError(f"{name} holds what is not finite")
