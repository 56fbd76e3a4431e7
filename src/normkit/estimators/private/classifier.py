"""Classification by similarity to private classes: `PrivateSimilarityClassifier`."""

import math
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from sklearn.base import ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.extmath import row_norms
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from normkit.estimators._parameters import check_choice
from normkit.estimators.private.bounds import into_ball
from normkit.estimators.private.density import check_kernel_parameters
from normkit.estimators.private.features import (
    FRACTION_BITS,
    KERNELS,
    draw_frequencies,
    draw_projection,
    grouped_feature_sums,
)
from normkit.estimators.private.queries import fourier_answers, fourier_errors
from normkit.estimators.private.release import PrivateEstimator, whole_or_nothing
from normkit.estimators.private.rows import row_blocks
from normkit.estimators.private.scale import Sensitivity
from normkit.estimators.private.spend import PrivacyWarning

__all__ = ["PrivateSimilarityClassifier"]

_COUNT_SHARE = 0.05  # what the counts of weighting="mean" cost the sums
_COUNT_DEVIATIONS = 4  # of the counts' noise: fewer rows cannot be told from none


class PrivateSimilarityClassifier(ClassifierMixin, PrivateEstimator):
    """The class whose private rows are most similar to the query: argmax_c Σ_{x in c} f(x, y), released once.

    One vector of summed features a class. Under "add_remove" a row is in one class only, so the classes share the
    budget without dividing it (parallel composition); under "replace_one" its label may change too, so the noise
    doubles.

    Args:
        similarity: a kernel of `PrivateKernelDensity`, or "inner" for xᵀy of rows scaled down to norm 1 where they are
            longer (released are Σ x; L2 sensitivity 1).
        bandwidth: of the kernel. Unit vectors in many dimensions lie about 1.2 apart: below 0.6 nothing is similar.
        epsilon: ε > 0, the budget of this release.
        delta: δ in [0, 1): 0 gives Laplace noise, above 0 Gaussian noise.
        n_features: D, the number of frequencies; not for "inner".
        n_projections: rows are first projected to so many dimensions; not for "inner".
        weighting: "sum", or "mean": the sum over the noisy number of rows in the class, whose release costs the sums
            5 % more noise. Counts are taken as four deviations of their noise or more, and a class that has fewer
            rows than that is predicted only where all have.
        classes: all labels that could occur. Without it they are read from y with a `PrivacyWarning`, for that a label
            occurs at all is then told without noise.
        neighbours, random_state, noise, mechanism, budget, insecure_seed, device: as `PrivateKernelDensity`.

    Attributes:
        classes_: the labels, shape (K,).
        spend_: `PrivacySpend` of the release.
        sums_: noisy feature sums, shape (K, 2 D) (or (K, d) for "inner").
        counts_: noisy numbers of rows a class with weighting "mean", else None.
        frequencies_, projection_: the public parts, or None.
        similarity_, bandwidth_: those of the release (no bandwidth for "inner"); parameters that are changed later
            change no answer, but `device`.
        noise_variance_: variance of the noise on each entry of `sums_`.

    Cross-validation, searches and ensembles fit clones, each of which releases anew: give a `budget`, which clones
    share, and n_jobs=1, for it counts in one process. A scaler or another step that learns from the rows in front of
    this one in a pipeline is not private.

    Raises:
        ValueError: from `fit`, for parameters that make no sense, or a label that is not among `classes`.
        PrivacyBudgetError: from `fit`, for a second release, or one beyond the budget; no row is read, unless the
            number of columns or labels decides what it costs, and nothing is released.

    Source: Backurs et al., ICLR 2024, arXiv:2403.08917, the section on classification.
    """

    _released = ("sums_", "counts_", "frequencies_", "projection_", "classes_", "similarity_", "bandwidth_")

    def __init__(
        self,
        similarity: Any = "gaussian",
        bandwidth: Any = 1.0,
        *,
        epsilon: Any,
        delta: Any = 0.0,
        n_features: Any = 512,
        n_projections: Any = None,
        weighting: Any = "sum",
        classes: Any = None,
        neighbours: Any = "add_remove",
        random_state: Any = None,
        noise: Any = None,
        mechanism: Any = None,
        budget: Any = None,
        insecure_seed: Any = None,
        device: Any = "cpu",
    ) -> None:
        self.similarity = similarity
        self.bandwidth = bandwidth
        self.epsilon = epsilon
        self.delta = delta
        self.n_features = n_features
        self.n_projections = n_projections
        self.weighting = weighting
        self.classes = classes
        self.neighbours = neighbours
        self.random_state = random_state
        self.noise = noise
        self.mechanism = mechanism
        self.budget = budget
        self.insecure_seed = insecure_seed
        self.device = device

    @whole_or_nothing
    def fit(self, X: Any, y: Any) -> "PrivateSimilarityClassifier":
        """Release the noisy sums of each class's rows and forget them; X has shape (n, d), dense or CSR, y (n,)."""
        self._check_budget()
        check_kernel_parameters(self.bandwidth, self.n_features, self.n_projections, self.device)
        check_choice("similarity", self.similarity, ("inner", *KERNELS))
        check_choice("weighting", self.weighting, ("sum", "mean"))
        self.similarity_ = self.similarity
        self.bandwidth_ = None if self.similarity == "inner" else float(self.bandwidth)
        if self.classes is not None:
            self.classes_ = _given_labels(self.classes)
        sized = self.similarity != "inner" and self.classes is not None
        plan = self._plan(self._sensitivity(2 * int(self.n_features))) if sized else None
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=np.float64)
        if self.classes is None:
            check_classification_targets(y)  # it warns by how many labels occur, which given classes do not tell
        label = self._labels(y)
        plan = plan or self._plan(
            self._sensitivity(X.shape[1] if self.similarity == "inner" else 2 * int(self.n_features))
        )
        self._draw_public(X.shape[1])
        self._release_classes(self._sums(X, label), np.bincount(label, minlength=len(self.classes_)), plan)
        return self

    def _labels(self, y: Any) -> Int[ndarray, "n"]:
        if self.classes is None:
            self.classes_, label = np.unique(y, return_inverse=True)
            if not _can_be_kept(self.classes_):
                raise ValueError(f"y holds labels of {self.classes_.dtype}: give text or whole numbers")
            if self.insecure_seed is None:
                warnings.warn(
                    "the classes were read from y, which tells without noise that each of them occurs: give all "
                    "labels that could occur, classes=[…]",
                    PrivacyWarning,
                    stacklevel=4,  # past fit and its guard
                )
            if len(self.classes_) < 2:
                raise ValueError(f"y holds one class only, {self.classes_[0]!r}: a classifier needs two or more")
            return label
        # text is sorted beside text only, and numbers beside numbers
        same_kind = (self.classes_.dtype.kind in "biuf") == (np.asarray(y).dtype.kind in "biuf")
        label = np.searchsorted(self.classes_, y) if same_kind else np.zeros(len(y), dtype=np.int64)
        if not same_kind or np.any(self.classes_[np.minimum(label, len(self.classes_) - 1)] != y):
            raise ValueError(f"y holds a label that is not among classes={self.classes_.tolist()}: add it there")
        return label

    def _draw_public(self, dims: int) -> None:
        rng = check_random_state(self.random_state)
        self.projection_ = self.frequencies_ = None
        if self.similarity == "inner":
            return
        if self.n_projections is not None:
            self.projection_ = draw_projection(dims, int(self.n_projections), rng)
        dims = int(self.n_projections or dims)
        self.frequencies_ = draw_frequencies(self.similarity, dims, int(self.n_features), rng, float(self.bandwidth))

    def _sums(self, X: Any, label: Int[ndarray, "n"]) -> Int[ndarray, "K features"]:
        if self.frequencies_ is not None:
            return grouped_feature_sums(X, label, len(self.classes_), self.frequencies_, self.projection_)
        total = np.zeros((len(self.classes_), X.shape[1]), dtype=np.int64)
        for place, rows in row_blocks(X, max(X.shape[1], len(self.classes_))):
            inside, _ = into_ball(rows, np.zeros(X.shape[1]), 1.0)
            member = (label[place] == np.arange(len(self.classes_))[:, None]).astype(np.float64)
            total += (member @ np.rint(inside * 2.0**FRACTION_BITS)).astype(np.int64)  # below 2⁵³: exact in any order
        return total

    def _sensitivity(self, size: int) -> Sensitivity:
        """Of the sums of `size` numbers a class, and the counts with weighting "mean"."""
        (l1, l2), weight = self._norms(size), 0.0
        if self.weighting == "mean":
            weight = self._count_weight(size, "gaussian" if self.delta > 0 else "laplace")
            size += 1
        hit = 2 if self.neighbours == "replace_one" else 1
        return Sensitivity(
            hit * (l1 + weight),
            hit * math.hypot(l2, weight),
            size=size * len(self.classes_),
            touched=hit * size,
            steps=2**FRACTION_BITS,
        )

    def _release_classes(self, sums: Int[ndarray, "K features"], counts: Int[ndarray, "K"], plan: Any) -> None:
        size, weight = sums.shape[1], 0.0
        if self.weighting == "mean":
            weight = self._count_weight(size, plan.spend.mechanism)
            sums = np.column_stack((sums, counts * round(weight * plan.steps)))
        released = self._release(sums.ravel(), plan).reshape(sums.shape)
        self.sums_ = released[:, :size]
        self.counts_ = released[:, size] / weight if weight else None

    def _norms(self, size: int) -> tuple[float, float]:
        """L1 and L2 of what one row adds to the sums of its class."""
        if self.similarity_ == "inner":
            return math.sqrt(size), 1.0
        return math.sqrt(2) * (size / 2), math.sqrt(size / 2)

    def _count_weight(self, size: int, mechanism: str) -> float:
        """The counts are released as a multiple of themselves, so that one scale of noise fits the whole vector."""
        (l1, l2), steps = self._norms(size), 2**FRACTION_BITS
        largest = l2 * math.sqrt((1 + _COUNT_SHARE) ** 2 - 1) if mechanism == "gaussian" else l1 * _COUNT_SHARE
        return round(largest * steps) / steps

    def _count_floor(self) -> float:
        """The number of rows below which a class cannot be told from an empty one."""
        weight = self._count_weight(self.sums_.shape[1], self.spend_.mechanism)
        return max(1.0, _COUNT_DEVIATIONS * math.sqrt(self.noise_variance_) / weight)

    def similarity_sums(self, Y: Any) -> Float[ndarray, "q K"]:
        """Σ f(x, y) over the rows of each class (over their noisy number with weighting "mean"), shape (q, K)."""
        check_is_fitted(self)
        return self._similarities(
            validate_data(self, Y, accept_sparse="csr", dtype=(np.float64, np.float32), reset=False)
        )

    def _similarities(self, Y: Any) -> Float[ndarray, "q K"]:
        if self.frequencies_ is None:
            sums = np.concatenate([rows @ self.sums_.T.astype(Y.dtype) for rows in self._into_unit_ball(Y)])
        else:
            sums = fourier_answers(Y, self.frequencies_, self.sums_, self.projection_, self.device)
        return sums if self.counts_ is None else sums / np.maximum(self.counts_, self._count_floor()).astype(sums.dtype)

    def _into_unit_ball(self, Y: Any) -> Iterator[Float[ndarray, "block d"]]:
        """Queries in blocks, each scaled down to norm 1 where it is longer, as the rows were."""
        for _, rows in row_blocks(Y, max(Y.shape[1], len(self.classes_))):
            yield into_ball(rows, np.zeros(Y.shape[1], dtype=Y.dtype), 1.0)[0]

    def predict(self, Y: Any) -> Any:
        """The label of the largest similarity for each query, shape (q,)."""
        similarity = self.similarity_sums(Y)
        if self.counts_ is not None:
            # the mean of next to no rows is noise; where no class has enough of them, all are ranked
            enough = self.counts_ >= self._count_floor()
            similarity[:, ~enough & np.any(enough)] = -np.inf
        return self.classes_[similarity.argmax(axis=1)]

    def noise_std(self, Y: Any, *, mean: bool = False) -> Any:
        """Standard deviation of the privacy noise in each class's sum (before any division by counts), shape (q,).

        With `mean`, for weighting "mean", that of each class's mean, shape (q, K), the noise of the count included as
        in `PrivateKernelDensity.noise_std`.
        """
        check_is_fitted(self)
        Y = validate_data(self, Y, accept_sparse="csr", dtype=np.float64, reset=False)
        noise = self._noise(Y)
        return self._of_means(Y, noise[:, None]) if mean else noise

    def estimate_error(self, Y: Any, *, mean: bool = False) -> Float[ndarray, "q K"]:
        """Standard error of each class's sum (before any division by counts): noise and frequencies, shape (q, K).

        As `PrivateKernelDensity.estimate_error`; for "inner", which samples no frequencies, the noise alone. Two
        classes share the frequencies, so the difference of their sums is often surer than either. With `mean`, for
        weighting "mean", the error of each class's mean.
        """
        check_is_fitted(self)
        Y = validate_data(self, Y, accept_sparse="csr", dtype=np.float64, reset=False)
        if self.frequencies_ is None:
            error = np.repeat(self._noise(Y)[:, None], len(self.classes_), axis=1)
        else:
            error = fourier_errors(Y, self.frequencies_, self.sums_, self.projection_, self.device)
        return self._of_means(Y, error) if mean else error

    def _noise(self, Y: Any) -> Float[ndarray, "q"]:
        if self.frequencies_ is not None:
            return np.full(Y.shape[0], math.sqrt(self.noise_variance_ / self.frequencies_.shape[1]))
        norms = np.concatenate([row_norms(rows) for rows in self._into_unit_ball(Y)])
        return norms * math.sqrt(self.noise_variance_)

    def _of_means(self, Y: Any, error: Float[ndarray, "q _"]) -> Float[ndarray, "q K"]:
        """The error of each class's mean from that of its sum; the counts' noise is drawn apart from that of the sums.

        Raises:
            ValueError: no counts were released.
        """
        if self.counts_ is None:
            raise ValueError("mean is True, and this release has no counts: fit with weighting='mean'")
        weight = self._count_weight(self.sums_.shape[1], self.spend_.mechanism)
        counted = self._similarities(Y) * (math.sqrt(self.noise_variance_) / weight)
        return np.hypot(error, counted) / np.maximum(self.counts_, self._count_floor())

    def _public(self) -> dict[str, Any]:
        return {
            "similarity": self.similarity_,
            "bandwidth": self.bandwidth_,
            "weighting": "sum" if self.counts_ is None else "mean",
            "classes": self.classes_,
            "n_features": None if self.frequencies_ is None else self.frequencies_.shape[1],
            "n_projections": None if self.projection_ is None else self.projection_.shape[1],
            "projection_": self.projection_,
            "frequencies_": self.frequencies_,
        }

    def __sklearn_tags__(self) -> Any:
        """Sparse rows are taken in blocks."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _summed(self) -> tuple[str, ...]:
        return ("sums_",) if self.counts_ is None else ("sums_", "counts_")


def _given_labels(classes: Any) -> Any:
    """The labels of the parameter `classes`, sorted."""
    message = (
        f"classes is {classes!r}: give None, or a list of all labels that could occur, two or more, all of them text "
        "or whole numbers"
    )
    if isinstance(classes, (str, bytes)) or not isinstance(classes, Iterable):
        raise ValueError(message)
    try:
        labels = np.asarray(list(classes))
        found = np.unique(labels)
    except (TypeError, ValueError):
        raise ValueError(message) from None
    if labels.ndim != 1 or len(found) < 2 or not _can_be_kept(found):
        raise ValueError(message)
    return found


def _can_be_kept(labels: Any) -> bool:
    """Text or whole numbers, which a file of the release can hold: what cannot be saved must not be spent for."""
    if labels.dtype.kind == "f":
        return labels.dtype.itemsize <= 8 and bool(np.all(np.isfinite(labels) & (labels == np.rint(labels))))
    return labels.dtype.kind in "biuU" or all(isinstance(each, str) for each in labels)
