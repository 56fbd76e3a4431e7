"""What differs between numpy and torch in the layer-wise network; everything else is operators that both have."""

from collections.abc import Iterator
from itertools import islice
from math import factorial, sqrt
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from normkit.estimators._parameters import check_choice, check_device

__all__ = ["Algebra", "NumpyAlgebra", "TorchAlgebra", "algebra"]


class NumpyAlgebra:
    """numpy and scipy, in float64."""

    def array(self, values: NDArray[Any]) -> NDArray[Any]:
        """Where this algebra computes: as they are."""
        return values

    def numpy(self, values: NDArray[Any]) -> NDArray[Any]:
        """Back in numpy: as they are."""
        return values

    def zeros(self, *shape: int) -> NDArray[Any]:
        """Zeros."""
        return np.zeros(shape)

    def rows(self, parts: list[Any]) -> NDArray[Any]:
        """Arrays below each other."""
        return np.concatenate(parts)

    def columns(self, vectors: list[Any]) -> NDArray[Any]:
        """Vectors side by side."""
        return np.stack(vectors, axis=1)

    def polynomial(self, t: NDArray[Any], degree: int) -> NDArray[Any]:
        """σ₁(t), the sum of the orthonormal Hermite polynomials up to `degree`."""
        return np.asarray(np.polynomial.hermite_e.hermeval(t, _weights(degree)))

    def relu(self, t: NDArray[Any]) -> NDArray[Any]:
        """max(t, 0)."""
        return np.maximum(t, 0.0)

    def solve(self, matrix: NDArray[Any], shift: float, right: NDArray[Any]) -> NDArray[Any]:
        """(matrix + shift I)⁻¹ right for a sum that is positive definite, by Cholesky decomposition."""
        from scipy.linalg import cho_factor, cho_solve

        shifted = matrix.copy(order="F")  # what LAPACK overwrites without another copy
        shifted[np.diag_indices_from(shifted)] += shift
        return np.asarray(cho_solve(cho_factor(shifted, overwrite_a=True, check_finite=False), right))

    def qr(self, matrix: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Q with orthonormal columns and R of a tall matrix."""
        Q, R = np.linalg.qr(matrix)
        return Q, R

    def own(self, parts: Iterator[slice]) -> Iterator[slice]:
        """The parts of a sum that this process adds up: all."""
        return parts

    def total(self, values: Any) -> Any:
        """The sum over the processes that share it: there is one."""
        return values


class TorchAlgebra:
    """torch on one device, in float64; with `sync` the ranks of `torch.distributed` share the long sums."""

    def __init__(self, device: Any = None, sync: bool = False) -> None:
        self.device = check_device("cpu" if device is None else device)
        self.shared = sync and dist.is_available() and dist.is_initialized()

    def array(self, values: NDArray[Any]) -> Tensor:
        """To the device, a copy."""
        return torch.tensor(values, dtype=torch.float64, device=self.device)

    def numpy(self, values: Tensor) -> NDArray[Any]:
        """From the device."""
        return np.asarray(values.cpu().numpy())

    def zeros(self, *shape: int) -> Tensor:
        """Zeros."""
        return torch.zeros(shape, dtype=torch.float64, device=self.device)

    def rows(self, parts: list[Any]) -> Tensor:
        """Below each other."""
        return torch.cat(parts)

    def columns(self, vectors: list[Any]) -> Tensor:
        """Side by side."""
        return torch.stack(vectors, dim=1)

    def polynomial(self, t: Tensor, degree: int) -> Tensor:
        """Term by term."""
        total = torch.ones_like(t)
        for j, weight in enumerate(_weights(degree)[1:], start=1):
            total.add_(torch.special.hermite_polynomial_he(t, j), alpha=weight)
        return total

    def relu(self, t: Tensor) -> Tensor:
        """max(t, 0)."""
        return t.clamp(min=0)

    def solve(self, matrix: Tensor, shift: float, right: Tensor) -> Tensor:
        """By Cholesky decomposition."""
        shifted = matrix.clone()
        shifted.diagonal().add_(shift)
        return torch.cholesky_solve(right[:, None], torch.linalg.cholesky(shifted))[:, 0]

    def qr(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """Q with orthonormal columns and R of a tall matrix."""
        Q, R = torch.linalg.qr(matrix)
        return Q, R

    def own(self, parts: Iterator[slice]) -> Iterator[slice]:
        """The parts of a sum that this rank adds up."""
        return islice(parts, dist.get_rank(), None, dist.get_world_size()) if self.shared else parts

    def total(self, values: Any) -> Any:
        """The sum over the ranks that share it."""
        if self.shared:
            dist.all_reduce(values)
        return values


Algebra = NumpyAlgebra | TorchAlgebra


def algebra(backend: Any, device: Any = None, sync: bool = False) -> Algebra:
    """The algebra of `backend`.

    Raises:
        ValueError: the backend or the device is unknown, or a device or `sync` is given for numpy.
    """
    check_choice("backend", backend, ("numpy", "torch"))
    if backend == "numpy" and (device is not None or sync):
        raise ValueError(f"device is {device!r} and sync is {sync}: only backend='torch' takes them")
    return NumpyAlgebra() if backend == "numpy" else TorchAlgebra(device, sync)


def _weights(degree: int) -> list[float]:
    """1/√j!: he_j = He_j / √j!."""
    return [1 / sqrt(factorial(j)) for j in range(degree + 1)]
