"""From samples to what a kernel machine multiplies by its coefficients: kernel values, or Nyström's features of them.

With sample weights w the machine is that of the rows √w x and targets √w y, as in scikit-learn's `KernelRidge`.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.kernel_approximation import Nystroem
from sklearn.metrics.pairwise import pairwise_kernels
from sklearn.utils import gen_batches

from normkit.estimators._ridge import Array

__all__ = ["KernelValues", "NystroemFeatures", "blocks"]

BLOCK_BYTES = 2**26
"""Of one block of rows: what is computed for any number of queries stays within this."""


class KernelValues:
    """k(x): the kernel of a sample with every training sample."""

    def __init__(self, X: Any, kernel: Any, parameters: dict[str, Any]) -> None:
        self.precomputed = isinstance(kernel, str) and kernel == "precomputed"
        self.X = None if self.precomputed else X
        self.kernel, self.parameters, self.width = kernel, parameters, X.shape[0]

    def __call__(self, X: Any) -> Array:
        if self.precomputed:
            return X
        named = {"filter_params": True} if isinstance(self.kernel, str) else {}
        return pairwise_kernels(X, self.X, metric=self.kernel, **named, **self.parameters)

    def gram(self, X: Any, root: Array | None) -> Array:
        """√w K √w of the training samples, a matrix of its own that may be overwritten."""
        matrix = np.array(self(X), dtype=np.float64, order="C", copy=True if self.precomputed else None)
        if root is not None:
            matrix *= root[:, None]
            matrix *= root
        return matrix


class NystroemFeatures:
    """z(x) with zᵀz′ ≈ k(x, x′), from the kernel with `n_components` training samples drawn at random."""

    def __init__(self, X: Any, kernel: Any, parameters: dict[str, Any], n_components: int, random_state: Any) -> None:
        given = parameters if isinstance(kernel, str) else {"kernel_params": parameters}
        self.map = Nystroem(kernel, n_components=n_components, random_state=random_state, **given)
        self.map.fit(X)
        self.width = n_components

    def __call__(self, X: Any) -> Array:
        return self.map.transform(X)

    def moments(self, X: Any, targets: Array, root: Array | None) -> tuple[Array, Array]:
        """ZᵀZ (m, m) and Zᵀ y (m, c) with the rows √w z, block by block of the samples."""
        gram, products = np.zeros((self.width, self.width)), np.zeros((self.width, targets.shape[1]))
        for rows in blocks(X.shape[0], self.width):
            z = self(X[rows])
            if root is not None:
                z = z * root[rows, None]
            gram += z.T @ z
            products += z.T @ targets[rows]
        return gram, products


def blocks(count: int, width: int) -> Iterator[slice]:
    """Slices of `count` rows, each of at most `BLOCK_BYTES` at `width` float64 a row."""
    yield from gen_batches(count, max(1, BLOCK_BYTES // (8 * max(1, width))))
