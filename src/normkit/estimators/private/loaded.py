"""What a file of a release held, looked at before it answers anything: the parts that there must be, and their shapes.

Every function raises ValueError where the parts cannot have been released together.
"""

import math
from typing import Any

import numpy as np

from normkit.estimators.private.arguments import require_number, require_shape, require_whole
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
    require_whole("n_features_in", loaded.n_features_in_, 1, "a number of columns is wanted")
    require_number("noise_variance", loaded.noise_variance_, 0.0, "a number is wanted", closed=True)
    spend = loaded.spend_
    for name in ("sensitivity", "scale", "epsilon", "delta", "rho"):
        require_number(name, getattr(spend, name), 0.0, "a number is wanted", closed=True)
    require_whole("parts", spend.parts, 1, "a number of parts is wanted")
    for name, choices in (("mechanism", MECHANISMS), ("relation", RELATIONS), ("source", (*SOURCES, "insecure"))):
        if getattr(spend, name) not in choices:
            raise ValueError(f"{name} is {getattr(spend, name)!r}, and is one of {', '.join(choices)}")
    names = getattr(loaded, "feature_names_in_", None)
    if names is not None and (names.shape != (loaded.n_features_in_,) or not all(type(n) is str for n in names)):
        raise ValueError(f"names of {loaded.n_features_in_} columns are wanted")


def check_density(loaded: Any) -> None:
    """Of a kernel density: frequencies, sums and the count."""
    if loaded.kernel_ not in KERNELS:
        raise ValueError(f"kernel is {loaded.kernel_!r}, and is one of {', '.join(KERNELS)}")
    require_number("bandwidth", loaded.bandwidth_, 0.0, "a number above 0 is wanted")
    count = _check_frequencies(loaded.frequencies_, loaded.projection_, loaded.n_features_in_)
    require_shape("sums", loaded.sums_, (1, 2 * count))
    require_number("count", loaded.count_, -math.inf, "a number is wanted")


def check_classifier(loaded: Any) -> None:
    """Of a classifier: labels, frequencies, sums and counts."""
    if loaded.similarity_ not in ("inner", *KERNELS):
        raise ValueError(f"similarity is {loaded.similarity_!r}, and is one of inner, {', '.join(KERNELS)}")
    if not isinstance(loaded.classes_, np.ndarray) or loaded.classes_.ndim != 1 or len(np.unique(loaded.classes_)) < 2:
        raise ValueError(f"classes is {loaded.classes_!r}, and is a list of two labels or more")
    size = loaded.n_features_in_
    if loaded.similarity_ != "inner":
        require_number("bandwidth", loaded.bandwidth_, 0.0, "a number above 0 is wanted")
        size = 2 * _check_frequencies(loaded.frequencies_, loaded.projection_, size)
    elif any(part is not None for part in (loaded.frequencies_, loaded.projection_, loaded.bandwidth_)):
        raise ValueError("similarity is 'inner', and there are frequencies or a bandwidth")
    require_shape("sums", loaded.sums_, (len(loaded.classes_), size))
    if loaded.counts_ is not None:
        require_shape("counts", loaded.counts_, (len(loaded.classes_),))


def check_distance(loaded: Any) -> None:
    """Of sums of distances: the parts that this metric has."""
    check_structure(loaded.metric_, loaded.p_, (0.0, 1.0), None, 1)
    check_query(loaded.metric_, loaded.query, loaded.alpha)
    there = {name for name in set().union(*_PARTS_OF.values()) if getattr(loaded, name) is not None}
    if there != _PARTS_OF[loaded.metric_]:
        raise ValueError(f"metric is {loaded.metric_!r}, and there are {', '.join(sorted(there))}")
    if loaded.metric_ != "lp" and loaded.p_ is not None:
        raise ValueError(f"metric is {loaded.metric_!r}, and there is a power p")
    require_number("count", loaded.count_, -math.inf, "a number is wanted")
    dims = trees = loaded.n_features_in_
    if loaded.metric_ in ("l2", "sqeuclidean"):
        require_shape("center", loaded.center_, (dims,))
        require_number("radius", loaded.radius_, 0.0, "a number above 0 is wanted")
    if loaded.metric_ == "sqeuclidean":
        require_shape("moments", loaded.moments_, (dims + 2,))
        return
    if loaded.metric_ == "l2":
        trees = int(np.shape(loaded.directions_)[-1])
        require_shape("directions", loaded.directions_, (dims, trees))
    require_shape("ranges", loaded.ranges_, (trees, 2))
    if not np.all(loaded.ranges_[:, 0] < loaded.ranges_[:, 1]):
        raise ValueError("ranges is not low < high in each tree")
    nodes = int(np.shape(loaded.nodes_)[-1])
    require_shape("nodes", loaded.nodes_, (trees, nodes))
    if nodes < 3 or nodes & (nodes + 1):
        raise ValueError(f"nodes are {nodes} a tree, and no number of nodes that a binary tree has")


def _check_frequencies(frequencies: Any, projection: Any, dims: int) -> int:
    """The number of frequencies; ValueError where they do not fit rows of `dims` columns."""
    if projection is not None:
        require_shape("projection", projection, (dims, np.shape(projection)[-1]))
        dims = projection.shape[1]
    require_shape("frequencies", frequencies, (dims, np.shape(frequencies)[-1]))
    return int(frequencies.shape[1])
