"""numpy or torch, by the array: linear algebra that both spell the same way is written once.

Such code keeps to what both have: `@`, `.T`, `.sum(0)`, `sqrt`, `where`, `quantile`, `linalg.eigh`, `linalg.svd` …
"""

from typing import Any

import numpy as np
import torch

from normkit.estimators._parameters import check_device

__all__ = ["as_backend", "as_numpy", "namespace"]

Array = Any
"""A numpy array or a torch tensor, float64."""


def namespace(array: Array) -> Any:
    """The module that holds the functions for `array`."""
    return torch if isinstance(array, torch.Tensor) else np


def as_backend(array: np.ndarray, backend: str, device: Any = None) -> Array:
    """The array for `backend`: itself, or a float64 tensor on `device`.

    Raises:
        ValueError: an unknown backend or device, or a device for numpy.
    """
    if backend == "torch":
        return torch.as_tensor(array, dtype=torch.float64, device=None if device is None else check_device(device))
    if backend != "numpy":
        raise ValueError(f'backend is {backend!r}: it must be "numpy" or "torch"')
    if device is not None:
        raise ValueError(f'device is {device!r}, and numpy computes on the CPU alone: pass backend="torch"')
    return array


def as_numpy(array: Array) -> np.ndarray:
    """The numbers as a numpy array, on the CPU."""
    return array.cpu().numpy() if isinstance(array, torch.Tensor) else np.asarray(array)
