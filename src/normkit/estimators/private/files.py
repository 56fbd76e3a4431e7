"""Releases on disk: one safetensors file of noisy numbers and public arrays, with parameters and spend as JSON.

The rows are nowhere in a fitted object, so they cannot be in the file.
"""

import json
import os
from dataclasses import fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from normkit.estimators._parameters import check_whole
from normkit.estimators.private.classifier import PrivateSimilarityClassifier
from normkit.estimators.private.density import PrivateKernelDensity
from normkit.estimators.private.distance import PrivateDistance
from normkit.estimators.private.loaded import check_classifier, check_density, check_distance, check_release
from normkit.estimators.private.release import PrivateEstimator
from normkit.estimators.private.spend import PrivacySpend

__all__ = ["load_private", "write"]

_FORMAT = 1
_KINDS: dict[str, type[PrivateEstimator]] = {
    kind.__name__: kind for kind in (PrivateKernelDensity, PrivateDistance, PrivateSimilarityClassifier)
}
_CHECKS = {
    "PrivateKernelDensity": check_density,
    "PrivateDistance": check_distance,
    "PrivateSimilarityClassifier": check_classifier,
}
_NOT_KEPT = ("random_state", "budget", "classes", "device")


def write(estimator: PrivateEstimator, path: Path) -> None:
    """Write the released numbers of a fitted estimator to `path`."""
    fitted = {name: getattr(estimator, name) for name in estimator._released}
    arrays = {name: np.ascontiguousarray(a) for name, a in fitted.items() if _is_array(a)}
    others = {name: a.tolist() if isinstance(a, np.ndarray) else a for name, a in fitted.items() if name not in arrays}
    names = getattr(estimator, "feature_names_in_", None)
    described = {
        "format": _FORMAT,
        "kind": type(estimator).__name__,
        "parameters": {n: _plain(v) for n, v in estimator.get_params(deep=False).items() if n not in _NOT_KEPT},
        "spend": estimator.spend_.to_dict(),
        "noise_variance": estimator.noise_variance_,
        "others": others,
        "n_features_in": estimator.n_features_in_,
        "feature_names_in": None if names is None else list(names),
    }
    save_file(arrays, path, metadata={"normkit.private": json.dumps(described)})


def load_private(path: str | os.PathLike[str]) -> Any:
    """Read a release that `save` has written: the fitted estimator, ready for queries.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no release of normkit, or a damaged one, or of a later version of the format.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    try:
        with safe_open(file, framework="numpy") as opened:
            described = json.loads((opened.metadata() or {})["normkit.private"])
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (it is no dict)
        version = described["format"]
        check_whole("format", version, 1, "a number")
        if version <= _FORMAT:
            return _rebuilt(described, arrays)
    except _DAMAGE as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ValueError(
            f"{file} is no private release of normkit, or a damaged one ({reason}): write one with save()"
        ) from None
    raise ValueError(f"{file} is of a later normkit (format {version}): update normkit")


_DAMAGE = (SafetensorError, LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)
"""What reading a file raises that holds something else than was written."""


def _rebuilt(described: dict[str, Any], arrays: dict[str, Any]) -> Any:
    """The fitted estimator, every part of which has been looked at."""
    kind = _KINDS[described["kind"]]
    parameters, others = described["parameters"], described["others"]
    _require_names("parameters", parameters, set(kind._get_param_names()) - set(_NOT_KEPT))
    _require_names("released parts", {**others, **arrays}, set(kind._released))
    _require_names("spend", described["spend"], {field.name for field in fields(PrivacySpend)})
    estimator = kind(**parameters)
    for name, value in (*others.items(), *arrays.items()):
        setattr(estimator, name, np.asarray(value) if isinstance(value, list) else value)
    # a text would be read as the names of its letters
    releases = described["spend"]["releases"] if isinstance(described["spend"]["releases"], list) else ()
    estimator.spend_ = PrivacySpend(**{**described["spend"], "releases": tuple(releases)})
    estimator.noise_variance_ = described["noise_variance"]
    estimator.n_features_in_ = described["n_features_in"]
    names = described["feature_names_in"]
    if names is not None:
        estimator.feature_names_in_ = np.asarray(names, dtype=object)
    check_release(estimator)
    _CHECKS[described["kind"]](estimator)
    estimator._prepare()
    return estimator


def _require_names(what: str, given: dict[str, Any], wanted: set[str]) -> None:
    if set(given) != wanted:
        raise ValueError(f"the {what} differ by {', '.join(sorted(set(given) ^ wanted))}")


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def _plain(value: Any) -> Any:
    """A parameter as JSON knows it: whatever number or array `fit` has taken can be saved too."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Real):  # fractions, and long doubles, which numpy leaves as they are
        return int(value) if isinstance(value, Integral) else float(value)
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    array = np.asarray(value)
    return (array.astype(np.float64) if array.dtype.kind == "f" else array).tolist()
