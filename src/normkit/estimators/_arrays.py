"""numpy or torch, by the array: linear algebra that both spell the same way is written once.

Such code keeps to what both have: `@`, `.T`, `.sum(0)`, `sqrt`, `where`, `quantile`, `linalg.eigh`, `linalg.svd` …
"""

from typing import Any

import numpy as np
import torch

from normkit.estimators._parameters import check_choice, check_device

__all__ = ["as_backend", "as_numpy", "check_backend", "namespace"]

Array = Any
"""A numpy array or a torch tensor, float64."""


def namespace(array: Array) -> Any:
    """The module that holds the functions for `array`."""
    return torch if isinstance(array, torch.Tensor) else np


def check_backend(backend: Any, device: Any = None) -> None:
    """Refuse what `as_backend` could not use.

    Raises:
        ValueError: an unknown backend, a device for numpy, or one that torch does not have here.
    """
    check_choice("backend", backend, ("numpy", "torch"))
    if device is None:
        return
    if backend == "numpy":
        raise ValueError(f'device is {device!r}, and numpy computes on the CPU alone: pass backend="torch"')
    check_device(device)


def as_backend(array: np.ndarray, backend: str, device: Any = None) -> Array:
    """The array for `backend`: itself, or a float64 tensor on `device`.

    Raises:
        ValueError: as `check_backend`.
    """
    check_backend(backend, device)
    return torch.as_tensor(array, dtype=torch.float64, device=device) if backend == "torch" else array


def as_numpy(array: Array) -> np.ndarray:
    """The numbers as a numpy array, on the CPU."""
    return array.cpu().numpy() if isinstance(array, torch.Tensor) else np.asarray(array)
