"""Releases on disk: one safetensors file of noisy numbers and public arrays, with parameters and spend as JSON.

The rows are nowhere in a fitted object, so they cannot be in the file.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from normkit.estimators.private.classifier import PrivateSimilarityClassifier
from normkit.estimators.private.density import PrivateKernelDensity
from normkit.estimators.private.distance import PrivateDistance
from normkit.estimators.private.release import PrivateEstimator
from normkit.estimators.private.spend import PrivacySpend

__all__ = ["load_private", "write"]

_FORMAT = 1
_KINDS: dict[str, type[PrivateEstimator]] = {
    kind.__name__: kind for kind in (PrivateKernelDensity, PrivateDistance, PrivateSimilarityClassifier)
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
        ValueError: it is no release of normkit, or of a later version of the format.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    try:
        with safe_open(file, framework="numpy") as opened:
            described = json.loads((opened.metadata() or {})["normkit.private"])
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (it is no dict)
    except (SafetensorError, KeyError, ValueError):
        raise ValueError(f"{file} is no private release of normkit: write one with save()") from None
    if described["format"] > _FORMAT or described["kind"] not in _KINDS:
        raise ValueError(f"{file} is of a later normkit (format {described['format']}): update normkit")
    estimator = _KINDS[described["kind"]](**described["parameters"])
    for name in estimator._released:
        value = arrays[name] if name in arrays else described["others"][name]
        setattr(estimator, name, np.asarray(value) if isinstance(value, list) else value)
    estimator.spend_ = PrivacySpend(**described["spend"])
    estimator.noise_variance_ = described["noise_variance"]
    estimator.n_features_in_ = described["n_features_in"]
    if described["feature_names_in"] is not None:
        estimator.feature_names_in_ = np.asarray(described["feature_names_in"], dtype=object)
    estimator._prepare()
    return estimator


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def _plain(value: Any) -> Any:
    """Numbers and arrays of numpy as JSON knows them."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value
