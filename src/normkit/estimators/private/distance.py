"""Sums of distances to private data: `PrivateDistance`."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from normkit.estimators.private import tree
from normkit.estimators.private.bounds import as_ball, as_box, check_powers, into_ball
from normkit.estimators.private.distance_options import check_query, check_structure
from normkit.estimators.private.features import FRACTION_BITS, rowwise_product
from normkit.estimators.private.power_sums import power_binning, power_sums, power_variance
from normkit.estimators.private.release import PrivateEstimator, whole_or_nothing
from normkit.estimators.private.scale import Sensitivity

__all__ = ["PrivateDistance"]

_DEEPEST = 14
_PARTS = ("nodes_", "moments_", "ranges_", "center_", "radius_", "directions_")


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
            1 + `alpha`. This and `alpha` may be changed after the fit: both ask the same released counts.
        alpha: of the geometric query, its relative error, 0.001 or more.
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
        metric_, p_: those of the release (`p_` is None but for "lp"); parameters that are changed later change no
            answer, but `query` and `alpha`.
        noise_variance_: variance of the noise on each released number.

    Raises:
        ValueError: from `fit`, for bounds that are missing, empty or "auto", a metric, depth or query that makes no
            sense, or a budget that does not.
        PrivacyBudgetError: from `fit`, for a second release, or one beyond the budget, before a row is read; or where
            this many columns and numbers need noise that the budget does not allow, with the rows looked at and nothing
            released.

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
    p_: Any
    _leaves: Any

    _released = (*_PARTS, "count_", "metric_", "p_")

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
        check_structure(self.metric, self.p, self.bounds, self.depth, self.n_projections)
        check_query(self.metric, self.query, self.alpha)
        X = validate_data(self, X, dtype=np.float64)
        self.metric_, self.p_ = self.metric, float(self.p) if self.metric == "lp" else None
        for name in _PARTS:
            setattr(self, name, None)
        if self.metric in ("l1", "lp"):
            low, high = as_box(self.bounds, X.shape[1])
            if self.p_ is not None:
                check_powers(low, high, self.p_)
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

    def _project(self, X: Float[ndarray, "n d"]) -> Float[ndarray, "n k"]:
        rng = check_random_state(self.random_state)
        self.directions_ = rng.standard_normal((X.shape[1], int(self.n_projections)))
        # |gᵀx| ≤ ‖g‖R always; in many dimensions a Gaussian bound is tighter, beyond which one row in a million lies
        longest = np.minimum(
            np.linalg.norm(self.directions_, axis=0), math.sqrt(2 * math.log(1e6 * max(2, self.n_projections)))
        )
        self.ranges_ = np.outer(longest * self.radius_, (-1.0, 1.0))
        with np.errstate(all="ignore"):
            return rowwise_product(X, self.directions_) * self.radius_

    def _fit_trees(self, X: Float[ndarray, "n trees"]) -> None:
        trees, public = X.shape[1], self.neighbours == "replace_one"
        depth = int(self.depth or 0) or (min(_DEEPEST, max(1, math.ceil(math.log2(len(X))))) if public else _DEEPEST)
        moved = trees * (2 * depth if public else depth + 1)
        numbers = trees * (2 ** (depth + 1) - (2 if public else 1))
        # Laplace's noise is exact on whole counts; Gaussian's is drawn finer, where its curve is the continuous one's
        steps = 1 if self.delta == 0 else 2**FRACTION_BITS
        plan = self._plan(Sensitivity(moved, math.sqrt(moved), size=numbers, steps=steps))
        nodes = np.stack(
            [tree.tree_counts(tree.bin_index(X[:, j], *self._range(j), depth), depth) for j in range(trees)]
        )
        counts = nodes[:, 1:] if public else nodes
        released = self._release(counts.ravel() * steps, plan).reshape(counts.shape)
        self.nodes_ = np.column_stack((np.full(trees, float(len(X))), released)) if public else released
        self.count_ = float(len(X)) if public else math.nan

    @np.errstate(all="ignore")  # whatever the caller's setting: an error or a warning would tell of a row
    def _fit_moments(self, X: Float[ndarray, "n d"]) -> None:
        steps, root, size = 2**FRACTION_BITS, math.sqrt(X.shape[1]), X.shape[1] + 1
        public = self.neighbours == "replace_one"
        if public:
            bound = Sensitivity(2 * root + 1, math.sqrt(5), size=size, touched=size, steps=steps)
        else:
            bound = Sensitivity(root + 2, math.sqrt(3), size=size + 1, touched=size, steps=steps)
        plan = self._plan(bound)
        squares = np.minimum(np.square(X).sum(axis=1), 1.0)
        values = np.rint(np.column_stack((X, squares)) * steps).astype(np.int64).sum(axis=0)
        if public:
            self.moments_ = np.append(self._release(values, plan), len(X))
        else:
            self.moments_ = self._release(np.append(values, len(X) * steps), plan)
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
        """Σ_x dist(x, y) for each query, shape (q,); queries may lie outside of the bounds.

        Raises:
            ValueError: for "lp", a query so far away that |x − y|^p is beyond 1e150.
        """
        check_is_fitted(self)
        check_query(self.metric_, self.query, self.alpha)
        return self._sums(validate_data(self, Y, dtype=np.float64, reset=False))

    def _sums(self, Y: Float[ndarray, "q d"]) -> Float[ndarray, "q"]:
        if self.metric_ == "sqeuclidean":
            Y = (Y - self.center_) / self.radius_
            first, second, count = self.moments_[:-2], self.moments_[-2], self.moments_[-1]
            return self.radius_**2 * (second - 2 * Y @ first + count * np.square(Y).sum(axis=1))
        Y, factor = self._of_trees(Y)
        return factor * sum((self._of_tree(j, Y[:, j]) for j in range(Y.shape[1])), np.zeros(len(Y)))

    def mean_distances(self, Y: Any) -> Float[ndarray, "q"]:
        """`sum_distances` over the released count, which is taken as 1 or more."""
        return self.sum_distances(Y) / max(self.count_, 1.0)

    def noise_std(self, Y: Any, *, mean: bool = False) -> Float[ndarray, "q"]:
        """Standard deviation of the privacy noise in each answer of `sum_distances`; exact, for answers are linear.

        With `mean` that of each answer of `mean_distances`, whose divisor N is noisy too, and comes from the same
        numbers as the sum S: √(Var S − 2 m Cov(S, N) + m² Var N)/N with m = S/N, to first order, which holds while N is
        many deviations of its noise.

        Raises:
            ValueError: for the geometric query, whose error is mostly not noise.
        """
        Y = self._as_queries(Y, "noise_std")
        if not mean:
            return self._noise(Y, np.zeros(len(Y)))
        count = max(self.count_, 1.0)
        return self._noise(Y, self._sums(Y) / count) / count

    def estimate_error(self, Y: Any, *, mean: bool = False) -> Float[ndarray, "q"]:
        """Standard error of each answer of `sum_distances` as an estimate of the exact sum for rows within bounds.

        - "l2": an answer is a mean over k directions, drawn independently, of what the tree of each says, noise
          included, so its standard error is that of a mean, √(π/2) std_k/√k (infinite for one direction).
        - "l1" and "lp": `noise_std`, and what bins do: a row that is taken at its bin's centre g instead of its own
          place is off by b at most (half a bin in "l1"). All rows off by the same uniform part of that, as on a grid of
          values they are, gives Σ b/√3: three times it can never be exceeded, so it is a bound rather than a standard
          deviation. Data spread within bins err by far less: at depth 4 a tenth of it or so, where noise is small.
        - "sqeuclidean": `noise_std`, as there are no bins.

        With `mean` the error of each answer of `mean_distances`, the noise of the count included as in `noise_std`.

        Raises:
            ValueError: for the geometric query.
        """
        Y = self._as_queries(Y, "estimate_error")
        count = max(self.count_, 1.0) if mean else 1.0
        each = self._sums(Y) / count if mean else np.zeros(len(Y))
        if self.metric_ == "l2":
            return self._error_of_directions(Y, each) / count
        noise = self._noise(Y, each)
        if self.metric_ != "sqeuclidean":
            binned = sum((self._binning_of_tree(j, Y[:, j]) for j in range(Y.shape[1])), np.zeros(len(Y)))
            noise = np.hypot(noise, binned / math.sqrt(3))
        return noise / count

    def _noise(self, Y: Float[ndarray, "q d"], each: Float[ndarray, "q"]) -> Float[ndarray, "q"]:
        """Deviation of the noise in the sum less `each` times the count."""
        public = self.spend_.relation == "replace_one"
        if self.metric_ == "sqeuclidean":
            square = np.square((Y - self.center_) / self.radius_).sum(axis=1)
            counted = 0.0 if public else (square - each / self.radius_**2) ** 2
            return self.radius_**2 * np.sqrt(self.noise_variance_ * (1 + 4 * square + counted))
        Y, factor = self._of_trees(Y)
        trees, leaves = self._leaves.shape
        variance = sum((self._variance_of_tree(j, Y[:, j]) for j in range(trees)), np.zeros(len(Y)))
        if not public and np.any(each):
            # one leaf more or less in all of them is one of the eigenvectors of `leaf_variance`
            share = each / (trees * factor)
            total = sum((self._weight_of_tree(j, Y[:, j]) for j in range(trees)), np.zeros(len(Y)))
            variance += share * (share * trees * leaves - 2 * total) / (2 * leaves - 1)
        return factor * np.sqrt(self.noise_variance_ * np.maximum(variance, 0.0))

    def _error_of_directions(self, Y: Float[ndarray, "q d"], each: Float[ndarray, "q"]) -> Float[ndarray, "q"]:
        """√k times the deviation of what each of k directions says; squares are added up around a running mean.

        Of what it says of the sum, less `each` times what it says of the count.
        """
        Y, factor = self._of_trees(Y)
        share = each / (Y.shape[1] * factor)
        mean, squares = np.zeros(len(Y)), np.zeros(len(Y))
        for j in range(Y.shape[1]):
            away = self._of_tree(j, Y[:, j]) - share * self._leaves[j].sum() - mean
            mean += away / (j + 1)
            squares += away**2 * (j / (j + 1))
        count = Y.shape[1]
        return factor * np.sqrt(squares * count / (count - 1)) if count > 1 else np.full(len(Y), np.inf)

    def _as_queries(self, Y: Any, asked: str) -> Float[ndarray, "q d"]:
        check_is_fitted(self)
        check_query(self.metric_, self.query, self.alpha)
        if self.query == "geometric":
            raise ValueError(f"{asked} is for query='consistent'; most of the geometric query's error is not noise")
        return validate_data(self, Y, dtype=np.float64, reset=False)

    def _of_trees(self, Y: Float[ndarray, "q d"]) -> tuple[Float[ndarray, "q trees"], float]:
        """The coordinate of each query in each tree, and the factor of their sum."""
        if self.metric_ != "l2":
            return Y, 1.0
        return (Y - self.center_) @ self.directions_, math.sqrt(math.pi / 2) / self.directions_.shape[1]

    def _centers(self, j: int) -> Float[ndarray, "m"]:
        return tree.bin_centers(*self._range(j), int(math.log2(self._leaves.shape[1])))

    def _range(self, j: int) -> tuple[float, float]:
        return float(self.ranges_[j, 0]), float(self.ranges_[j, 1])

    def _of_tree(self, j: int, y: Float[ndarray, "q"]) -> Float[ndarray, "q"]:
        if self.query == "geometric":
            return tree.geometric_sums(self.nodes_[j], *self._range(j), float(self.alpha), y)
        if self.metric_ == "lp":
            return power_sums(self._leaves[j], self._centers(j), y, self.p_)
        return tree.distance_sums(self._leaves[j], self._centers(j), y)

    def _weight_of_tree(self, j: int, y: Float[ndarray, "q"]) -> Float[ndarray, "q"]:
        """The sum over one tree were there one row in each bin."""
        ones = np.ones(self._leaves.shape[1])
        if self.metric_ == "lp":
            return power_sums(ones, self._centers(j), y, self.p_)
        return tree.distance_sums(ones, self._centers(j), y)

    def _variance_of_tree(self, j: int, y: Float[ndarray, "q"]) -> Float[ndarray, "q"]:
        known = self.spend_.relation == "replace_one"
        if self.metric_ == "lp":
            return power_variance(self._centers(j), y, self.p_, known)
        return tree.distance_variance(y, *self._range(j), int(math.log2(self._leaves.shape[1])), known)

    def _binning_of_tree(self, j: int, y: Float[ndarray, "q"]) -> Float[ndarray, "q"]:
        low, high = self._range(j)
        half = (high - low) / self._leaves.shape[1] / 2
        if self.metric_ == "lp":
            return power_binning(self._leaves[j], self._centers(j), half, y, self.p_)
        return np.full(len(y), max(self.count_, 0.0) * half)

    def _public(self) -> dict[str, Any]:
        return {
            "metric": self.metric_,
            "p": self.p_,
            "query": self.query,
            "alpha": self.alpha if self.query == "geometric" else None,
            "number of trees and nodes": None if self.nodes_ is None else self.nodes_.shape,
            "bounds": self.ranges_,
            "center": self.center_,
            "radius": self.radius_,
            "directions_": self.directions_,
        }

    def _summed(self) -> tuple[str, ...]:
        return ("moments_", "count_") if self.nodes_ is None else ("nodes_", "count_")
