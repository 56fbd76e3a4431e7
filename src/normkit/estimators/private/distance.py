"""Sums of distances to private data: `PrivateDistance`."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from normkit.estimators.private import tree
from normkit.estimators.private.bounds import as_ball, as_box, into_ball, require_bounds
from normkit.estimators.private.features import FRACTION_BITS, rowwise_product
from normkit.estimators.private.release import PrivateEstimator, Sensitivity, whole_or_nothing

__all__ = ["PrivateDistance"]

_DEEPEST = 14
_BLOCK = 2**22  # numbers held at once


class PrivateDistance(PrivateEstimator):
    """Σ_x dist(x, y) over private rows x, for any number of queries y, from one (ε, δ)-private release.

    - "l1" (Σ_j |x_j − y_j|) and "lp" (Σ_j |x_j − y_j|^p): a binary tree of counts a coordinate, made consistent by
      least squares; "l1" answers in O(d log m), "lp" in O(d m). One record moves d (h + 1) counts by one.
    - "sqeuclidean" (‖x − y‖₂²): noisy Σ x/R, Σ ‖x‖²/R² and the count, of rows within radius R.
    - "l2" (‖x − y‖₂): `n_projections` random directions g with ‖v‖₂ = √(π/2) E|gᵀv|, a tree for each.

    Args:
        metric: "l1", "l2", "sqeuclidean" or "lp".
        p: the power, for "lp".
        bounds: (low, high), numbers or one a coordinate, in the unit of the data; values outside are taken at the
            nearer end. For "l2" and "sqeuclidean" also one number, the radius R of a ball about 0 (rows beyond it are
            moved onto it). They must be known without the data.
        epsilon: ε > 0, the budget of this release.
        delta: δ in [0, 1): 0 gives Laplace noise, above 0 Gaussian noise (less where there are many coordinates).
        depth: h, each tree has 2^h bins. None: ⌈log2 n⌉, at most 14, where n is public, and 14 where it is private.
        query: "consistent", or "geometric" for the paper's own (only "l1"): shells around the query that grow by
            1 + `alpha`.
        alpha: of the geometric query, its relative error.
        n_projections: directions for "l2"; the answer's relative sampling error is 0.76/√n_projections.
        neighbours, random_state, noise, mechanism, budget, insecure_seed: as `PrivateKernelDensity`.

    Attributes:
        spend_: `PrivacySpend` of the release.
        nodes_: noisy tree counts, shape (trees, 2^{h+1} − 1), the root first; None for "sqeuclidean".
        moments_: noisy (Σ x/R, Σ ‖x‖²/R², count), shape (d + 2,), for "sqeuclidean".
        ranges_: low and high of each tree, shape (trees, 2).
        center_, radius_: of the ball that rows are moved into, for "l2" and "sqeuclidean".
        directions_: shape (d, n_projections), for "l2".
        count_: the noisy number of rows (exact under "replace_one").
        noise_variance_: variance of the noise on each released number.

    Raises:
        ValueError: from `fit`, for bounds that are missing, empty or "auto", a metric, depth or query that makes no
            sense, or a budget that does not.
        PrivacyBudgetError: from `fit`, for a second release, or one beyond the budget; no row is read.

    Source: Backurs et al., ICLR 2024, arXiv:2403.08917, the section on distances; consistency: Hay et al., VLDB 2010,
    arXiv:0904.0942.
    """

    # arrays; None where the metric has no such part
    nodes_: Any
    moments_: Any
    ranges_: Any
    center_: Any
    radius_: Any
    directions_: Any
    _leaves: Any

    _released = ("nodes_", "moments_", "ranges_", "center_", "radius_", "directions_", "count_")

    def __init__(
        self,
        metric: Any = "l1",
        p: Any = None,
        *,
        bounds: Any = None,
        epsilon: Any,
        delta: Any = 0.0,
        depth: Any = None,
        query: Any = "consistent",
        alpha: Any = 0.1,
        n_projections: Any = 64,
        neighbours: Any = "add_remove",
        random_state: Any = None,
        noise: Any = None,
        mechanism: Any = None,
        budget: Any = None,
        insecure_seed: Any = None,
    ) -> None:
        self.metric = metric
        self.p = p
        self.bounds = bounds
        self.epsilon = epsilon
        self.delta = delta
        self.depth = depth
        self.query = query
        self.alpha = alpha
        self.n_projections = n_projections
        self.neighbours = neighbours
        self.random_state = random_state
        self.noise = noise
        self.mechanism = mechanism
        self.budget = budget
        self.insecure_seed = insecure_seed

    @whole_or_nothing
    def fit(self, X: Any, y: Any = None) -> "PrivateDistance":
        """Release the noisy structure of the rows X, shape (n, d), and forget them."""
        self._check_budget()
        self._check_metric()
        X = validate_data(self, X, dtype=np.float64)
        self.nodes_ = self.moments_ = self.ranges_ = self.center_ = self.radius_ = self.directions_ = None
        if self.metric in ("l1", "lp"):
            low, high = as_box(self.bounds, X.shape[1])
            self.ranges_ = np.column_stack((low, high))
            self._unreleased_outside = int(np.any((low > X) | (high < X), axis=1).sum())
            self._fit_trees(X)
        else:
            self.center_, self.radius_ = as_ball(self.bounds, X.shape[1])
            inside, outside = into_ball(X, self.center_, self.radius_)
            self._unreleased_outside = int(outside.sum())
            self._fit_moments(inside) if self.metric == "sqeuclidean" else self._fit_trees(self._project(inside))
        self._prepare()
        return self

    def _check_metric(self) -> None:
        if self.metric not in ("l1", "l2", "sqeuclidean", "lp"):
            raise ValueError(f"metric is {self.metric!r}: choose one of l1, l2, sqeuclidean, lp")
        if self.metric == "lp" and (self.p is None or not 0 < self.p < math.inf):
            raise ValueError(f"metric is 'lp' and p is {self.p}: give the power, a finite number above 0")
        if self.query not in ("consistent", "geometric"):
            raise ValueError(f"query is {self.query!r}: choose consistent or geometric")
        if self.query == "geometric" and self.metric != "l1":
            raise ValueError(f"query 'geometric' is for metric 'l1', and metric is {self.metric!r}: choose consistent")
        if not 0 < self.alpha < math.inf:
            raise ValueError(f"alpha is {self.alpha}: give a number above 0")
        if self.depth is not None and not (1 <= self.depth <= 20 and self.depth == int(self.depth)):
            raise ValueError(f"depth is {self.depth}: give a whole number from 1 to 20")
        if self.n_projections < 1:
            raise ValueError(f"n_projections is {self.n_projections}: give a whole number of 1 or more")
        require_bounds(self.bounds)

    def _project(self, X: Float[ndarray, "n d"]) -> Float[ndarray, "n k"]:
        rng = check_random_state(self.random_state)
        self.directions_ = rng.standard_normal((X.shape[1], self.n_projections))
        # |gᵀx| ≤ ‖g‖R always; in many dimensions a Gaussian bound is tighter, beyond which one row in a million lies
        longest = np.minimum(
            np.linalg.norm(self.directions_, axis=0), math.sqrt(2 * math.log(1e6 * max(2, self.n_projections)))
        )
        self.ranges_ = np.outer(longest * self.radius_, (-1.0, 1.0))
        return rowwise_product(X, self.directions_) * self.radius_

    def _fit_trees(self, X: Float[ndarray, "n trees"]) -> None:
        trees, public = X.shape[1], self.neighbours == "replace_one"
        depth = self.depth or (min(_DEEPEST, max(1, math.ceil(math.log2(len(X))))) if public else _DEEPEST)
        nodes = np.stack(
            [tree.tree_counts(tree.bin_index(X[:, j], *self._range(j), depth), depth) for j in range(trees)]
        )
        counts = nodes[:, 1:] if public else nodes
        moved = trees * (2 * depth if public else depth + 1)
        # Laplace's noise is exact on whole counts; Gaussian's is drawn finer, where its curve is the continuous one's
        steps = 1 if self.delta == 0 else 2**FRACTION_BITS
        bound = Sensitivity(moved, math.sqrt(moved), size=counts.size, steps=steps)
        released = self._release(counts.ravel() * steps, bound).reshape(counts.shape)
        self.nodes_ = np.column_stack((np.full(trees, float(len(X))), released)) if public else released
        self.count_ = float(len(X)) if public else math.nan

    def _fit_moments(self, X: Float[ndarray, "n d"]) -> None:
        steps = 2**FRACTION_BITS
        squares = np.minimum(np.square(X).sum(axis=1), 1.0)
        values = np.rint(np.column_stack((X, squares)) * steps).astype(np.int64).sum(axis=0)
        root = math.sqrt(X.shape[1])
        if self.neighbours == "replace_one":
            bound = Sensitivity(2 * root + 1, math.sqrt(5), size=len(values), touched=len(values), steps=steps)
            self.moments_ = np.append(self._release(values, bound), len(X))
        else:
            bound = Sensitivity(root + 2, math.sqrt(3), size=len(values) + 1, touched=len(values), steps=steps)
            self.moments_ = self._release(np.append(values, len(X) * steps), bound)
        self.count_ = float(self.moments_[-1])

    def _prepare(self) -> None:
        """The consistent leaves of each tree, computed once from the released counts."""
        if self.nodes_ is None:
            self.count_ = float(self.moments_[-1])
            return
        total = float(self.nodes_[0, 0]) if self.spend_.relation == "replace_one" else None
        self._leaves = tree.consistent_leaves(self.nodes_, total)
        self.count_ = float(self._leaves.sum(axis=1).mean())

    def sum_distances(self, Y: Any) -> Float[ndarray, "q"]:
        """Σ_x dist(x, y) for each query, shape (q,); queries may lie outside of the bounds."""
        check_is_fitted(self)
        Y = validate_data(self, Y, dtype=np.float64, reset=False)
        if self.metric == "sqeuclidean":
            Y = (Y - self.center_) / self.radius_
            first, second, count = self.moments_[:-2], self.moments_[-2], self.moments_[-1]
            return self.radius_**2 * (second - 2 * Y @ first + count * np.square(Y).sum(axis=1))
        factor = 1.0
        if self.metric == "l2":
            Y = (Y - self.center_) @ self.directions_
            factor = math.sqrt(math.pi / 2) / self.n_projections
        return factor * sum((self._of_tree(j, Y[:, j]) for j in range(Y.shape[1])), np.zeros(len(Y)))

    def mean_distances(self, Y: Any) -> Float[ndarray, "q"]:
        """`sum_distances` over the released count, which is taken as 1 or more."""
        return self.sum_distances(Y) / max(self.count_, 1.0)

    def noise_std(self, Y: Any) -> Float[ndarray, "q"]:
        """Standard deviation of the privacy noise in each answer of `sum_distances`; exact, for answers are linear.

        Raises:
            ValueError: for the geometric query, whose error is mostly not noise.
        """
        check_is_fitted(self)
        if self.query == "geometric":
            raise ValueError("noise_std is for query='consistent'; most of the geometric query's error is not noise")
        Y = validate_data(self, Y, dtype=np.float64, reset=False)
        if self.metric == "sqeuclidean":
            square = np.square((Y - self.center_) / self.radius_).sum(axis=1)
            counted = 0.0 if self.spend_.relation == "replace_one" else square**2
            return self.radius_**2 * np.sqrt(self.noise_variance_ * (1 + 4 * square + counted))
        factor = 1.0
        if self.metric == "l2":
            Y = (Y - self.center_) @ self.directions_
            factor = math.sqrt(math.pi / 2) / self.n_projections
        variance = sum((self._variance_of_tree(j, Y[:, j]) for j in range(Y.shape[1])), np.zeros(len(Y)))
        return factor * np.sqrt(self.noise_variance_ * variance)

    def estimate_error(self, Y: Any) -> Float[ndarray, "q"]:
        """The same as `noise_std`."""
        return self.noise_std(Y)

    def _centers(self, j: int) -> Float[ndarray, "m"]:
        return tree.bin_centers(*self._range(j), int(math.log2(self._leaves.shape[1])))

    def _range(self, j: int) -> tuple[float, float]:
        return float(self.ranges_[j, 0]), float(self.ranges_[j, 1])

    def _of_tree(self, j: int, y: Float[ndarray, "q"]) -> Float[ndarray, "q"]:
        if self.query == "geometric":
            return tree.geometric_sums(self.nodes_[j], *self._range(j), self.alpha, y)
        if self.metric != "lp":
            return tree.distance_sums(self._leaves[j], self._centers(j), y)
        return np.concatenate([weights @ self._leaves[j] for weights in self._weights(j, y)])

    def _variance_of_tree(self, j: int, y: Float[ndarray, "q"]) -> Float[ndarray, "q"]:
        known = self.spend_.relation == "replace_one"
        return np.concatenate([tree.leaf_variance(weights, known) for weights in self._weights(j, y)])

    def _weights(self, j: int, y: Float[ndarray, "q"]) -> Any:
        """|g_i − y|^p for blocks of queries."""
        centers, power = self._centers(j), self.p if self.metric == "lp" else 1.0
        step = max(1, _BLOCK // len(centers))
        return (np.abs(centers - y[start : start + step, None]) ** power for start in range(0, len(y), step))

    def _summed(self) -> tuple[str, ...]:
        return ("moments_", "count_") if self.nodes_ is None else ("nodes_", "count_")
