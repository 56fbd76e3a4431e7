"""The classifier that a network becomes as it grows infinitely wide, at any depth, infinite by default.

    depth = ∞: sign Σ_i y_i ψ(xᵀx_i), the nearest neighbour, or the majority, as the activation has it (`taxonomy`);
    depth = L: sign K(x, X) K(X, X)⁻¹ y with the exact kernel of L hidden layers

Source: Radhakrishnan, Belkin, Uhler 2023, arXiv:2204.14126.
"""

import warnings
from numbers import Real
from typing import Any

import numpy as np
from numpy import ndarray
from scipy.linalg import LinAlgError, LinAlgWarning, cho_factor, cho_solve
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from normkit.estimators._parameters import check, check_choice, check_device, check_flag, is_number
from normkit.estimators._smoother import KernelTable, smooth
from normkit.estimators.dual_activation import dual_activation
from normkit.estimators.ntk import check_depth, gaps, log_kernel
from normkit.estimators.singular_kernel import log_psi
from normkit.estimators.taxonomy import taxonomy
from normkit.nn.hermite_activation import optimal_coefficients

__all__ = ["InfiniteNetClassifier"]

_CONSTANT = 0.1  # of a feature that gives a row of zeros a direction


def _infinite(classifier: "InfiniteNetClassifier") -> bool:
    return isinstance(classifier.depth, Real) and bool(classifier.depth == np.inf)


class InfiniteNetClassifier(ClassifierMixin, BaseEstimator):
    """An infinitely wide network on the sphere's non-negative part, trained to the end without a ridge.

    Args:
        activation: "optimal" (the one whose limit is consistent in the data's dimension), "relu", "erf", Hermite
            coefficients, a torch module, or an element-wise function.
        depth: hidden layers; infinite by default.
        kernel: "ntk", all layers trained, or "nngp", the last one; the same at infinite depth.
        intrinsic_dim: d for the optimal activation where the data lie on a manifold of that dimension; None takes the
            sphere's, features − 1, counting the constant one where there is one.
        preprocess: scale every feature to 0…1 by the training set (queries are clipped). Where that makes a row of the
            training set all zero, a constant feature of 0.1 is added to all.
        backend: "numpy" or "torch".
        device: torch's device of the blocks.

    Rows are divided by their norm. Equal points are merged, so that conflicting labels average. At infinite depth, and
    where a deep kernel's diagonal exceeds the rest by 1e15, no system is solved: memory is n · d and a block. A finite
    depth otherwise needs n² numbers. At infinite depth the classes' shares answer a query at a right angle to every
    point; one that is all zero once scaled counts as such.

    Attributes:
        classes_: the labels.
        taxonomy_: A, A′, B′, limit and α of the activation.
        dimension_: d of the sphere, or `intrinsic_dim`.
        adds_constant_: whether a constant feature was added.
        X_: the distinct training points on the sphere.
        jitter_: what was added to a kernel matrix's diagonal, relative to it; 0 but for crowded points.

    Raises:
        ValueError: depth < 1 or no integer; d < 1; a row of norm 0 or entries < 0 with `preprocess=False`; an
            activation that has no limit classifier; an unknown kernel, backend or device.
    """

    def __init__(
        self,
        activation: Any = "optimal",
        depth: Any = np.inf,
        kernel: Any = "ntk",
        intrinsic_dim: Any = None,
        preprocess: Any = True,
        backend: Any = "numpy",
        device: Any = None,
    ) -> None:
        self.activation = activation
        self.depth = depth
        self.kernel = kernel
        self.intrinsic_dim = intrinsic_dim
        self.preprocess = preprocess
        self.backend = backend
        self.device = device

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "InfiniteNetClassifier":
        """Store the points and, at a finite depth, solve for their weights."""
        self._check_options()
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        weight = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
        X, y, weight = X[weight > 0], y[weight > 0], weight[weight > 0]
        if not len(X):
            raise ValueError("every sample_weight is zero: there is nothing to learn from")
        self.classes_, labels = np.unique(y, return_inverse=True)
        self.adds_constant_ = False
        if self.preprocess:
            self.low_, high = X.min(0), X.max(0)
            self.range_ = np.where(high > self.low_, high - self.low_, 1.0)
            self.adds_constant_ = not self._scaled(X).any(1).all()
        points = self._on_sphere(X)
        self.dimension_ = points.shape[1] - 1 if self.intrinsic_dim is None else self.intrinsic_dim
        chosen = self.activation
        if isinstance(chosen, str) and chosen == "optimal":
            chosen = optimal_coefficients(self.dimension_)
        self.taxonomy_ = taxonomy(chosen)
        if _infinite(self) and self.taxonomy_.limit in ("linear", "constant kernel"):
            raise ValueError(
                f"at infinite depth this activation is degenerate ({self.taxonomy_.limit}): it has no classifier of "
                "its own; take activation='optimal', or a finite depth"
            )
        self.X_, place = np.unique(points, axis=0, return_inverse=True)
        self.sums_ = np.zeros((len(self.X_), len(self.classes_)))
        np.add.at(self.sums_, (place.ravel(), labels), weight)
        self.counts_ = self.sums_.sum(1)
        self.shares_ = self.sums_.sum(0) / self.counts_.sum()
        self.jitter_ = 0.0
        self._prepare(dual_activation(chosen))
        return self

    def _check_options(self) -> None:
        if not _infinite(self):
            check_depth(self.depth)
        check_choice("kernel", self.kernel, ("ntk", "nngp"))
        check_choice("backend", self.backend, ("numpy", "torch"))
        check_flag("preprocess", self.preprocess)
        if self.device is not None:
            if self.backend != "torch":
                raise ValueError(f"device is {self.device!r}, and devices are torch's: set backend='torch' too")
            check_device(self.device)
        d = self.intrinsic_dim
        check("intrinsic_dim", d, d is None or (is_number(d) and d >= 1), "None or a sphere's dimension, at least 1")

    def _scaled(self, X: ndarray) -> ndarray:
        scaled: ndarray = np.clip((X - self.low_) / self.range_, 0.0, 1.0)
        return scaled

    def _on_sphere(self, X: ndarray) -> ndarray:
        """Rows of norm 1; a query that is all zero once scaled stays so, at a right angle to every point."""
        if self.preprocess:
            X = self._scaled(X)
            if self.adds_constant_:
                X = np.column_stack([X, np.full(len(X), _CONSTANT)])
        elif (X < 0).any():
            raise ValueError(
                "Negative values in data passed to InfiniteNetClassifier: the theory needs xᵀx′ ≥ 0; "
                "set preprocess=True, or scale the features to 0…1"
            )
        norms = np.linalg.norm(X, axis=1, keepdims=True)
        zero = norms == 0
        if zero.any() and not self.preprocess:
            raise ValueError(f"{int(zero.sum())} rows have norm 0 and lie on no sphere: set preprocess=True")
        return X / np.where(zero, 1.0, norms)

    def _prepare(self, dual: Any) -> None:
        """What predictions need beside the points: a table of log K, the solved weights, or nothing."""
        self.table_: KernelTable | None = None
        self.solved_: ndarray | None = None
        self.dual_ = dual
        if _infinite(self):
            if self.taxonomy_.limit == "singular kernel":
                self.table_ = KernelTable.of(lambda delta, xi: log_psi(delta, xi, dual))
            return
        diagonal = self._log_kernel(np.zeros(1), np.ones(1))[0]
        if len(self.X_) > 1:
            neighbor = NearestNeighbors(n_neighbors=1).fit(self.X_).kneighbors(return_distance=False)[:, 0]
            nearest = np.array([(np.square(self.X_ - self.X_[neighbor]).sum(1) / 2).min()])
            if self._log_kernel(nearest, 1 - nearest)[0] < diagonal - np.log(1e15):
                self.table_ = KernelTable.of(self._log_kernel)
                return
        self._solve(diagonal)

    def _log_kernel(self, delta: ndarray, xi: ndarray) -> ndarray:
        return log_kernel(delta, xi, self.dual_, int(self.depth), self.kernel)

    def _solve(self, diagonal: float) -> None:
        delta = gaps(self.X_, self.X_)
        np.fill_diagonal(delta, 0.0)
        gram = np.exp(self._log_kernel(delta, np.clip(1 - delta, 0, 1)) - diagonal)
        targets = self.sums_ / self.counts_[:, None]
        jitter = 0.0
        while True:
            try:
                factor = cho_factor(gram + jitter * np.eye(len(gram)))
                break
            except LinAlgError:
                jitter = max(1e-13, 10 * jitter)
        if jitter:
            warnings.warn(
                f"the kernel matrix is singular in float64 (crowded points): {jitter:.0e} of its diagonal was added",
                LinAlgWarning,
                stacklevel=3,
            )
        self.jitter_, self.solved_, self.diagonal_ = jitter, cho_solve(factor, targets), diagonal

    def _scores(self, X: Any) -> ndarray:
        """(queries, classes): shares of the weights, or K(x, X) K⁻¹ y."""
        check_is_fitted(self)
        queries = self._on_sphere(validate_data(self, X, reset=False, dtype=np.float64))
        if self.solved_ is not None:
            blocks = range(0, len(queries), max(1, 2**18 // len(self.X_)))
            return np.concatenate([self._solved_scores(queries[i : i + blocks.step]) for i in blocks])
        limit = self.taxonomy_.limit
        if self.table_ is not None:
            scores = smooth(self.table_, queries, self.X_, self.sums_, self.counts_, self.backend, self.device)
            return np.where(np.isnan(scores), self.shares_, scores)
        if limit == "majority vote":
            return np.tile(self.shares_, (len(queries), 1))
        nearest = NearestNeighbors(n_neighbors=1).fit(self.X_).kneighbors(queries, return_distance=False)[:, 0]
        return np.where(
            queries.any(axis=1, keepdims=True), self.sums_[nearest] / self.counts_[nearest, None], self.shares_
        )

    def _solved_scores(self, queries: ndarray) -> ndarray:
        delta = np.clip(gaps(queries, self.X_), 0, 1)
        assert self.solved_ is not None
        result: ndarray = np.exp(self._log_kernel(delta, 1 - delta) - self.diagonal_) @ self.solved_
        return result

    def predict(self, X: Any) -> ndarray:
        """The class of the largest score; the first of several."""
        scores = self._scores(X)
        result: ndarray = self.classes_[scores.argmax(1)]
        return result

    def decision_function(self, X: Any) -> ndarray:
        """Score of the second class minus that of the first; with more classes one column each."""
        scores = self._scores(X)
        if len(self.classes_) == 2:
            return scores[:, 1] - scores[:, 0]
        return scores[:, 0] if len(self.classes_) == 1 else scores

    @available_if(_infinite)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> ndarray:
        """The classes' shares of the weights ψ(xᵀx_i); at infinite depth only."""
        return self._scores(X)

    def __sklearn_tags__(self) -> Any:
        """Entries ≥ 0 where nothing scales them."""
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = not self.preprocess
        return tags
