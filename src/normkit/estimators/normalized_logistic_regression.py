"""Logistic regression by gradient descent whose step does not shrink with the share of samples that are wrong.

Source: Tyurin 2025, "From Logistic Regression to the Perceptron Algorithm: Exploring Gradient Descent with Large Step
Sizes", arXiv:2412.08424. No code of the author is public.
"""

import math
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse, special
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from normkit.estimators._parameters import check, check_choice, check_device, check_flag, is_number, is_whole
from normkit.estimators._separation import METHODS, log_sigmoid
from normkit.estimators.separability import separability_report

__all__ = ["NormalizedLogisticRegression"]

_TYPES = (np.float64, np.float32)
"""What samples may be made of; anything else becomes the first."""

_JUDGED = 1 << 20
"""Numbers in a data set up to which a fit that has not ended says whether it could have."""


class NormalizedLogisticRegression(ClassifierMixin, BaseEstimator):
    """θ ← θ + γ Σ_i w_i y_i x_i with w_i = s_i / Σ_j s_j, s_i = 1/(1 + e^{y_i x_iᵀ θ}), until every sample is right.

    Plain gradient descent divides by n: with few samples left wrong its step is tiny, and its steps grow like n. Here
    the weights add up to one. From θ = 0 at most R²/μ² + 2 log(2n − 1)/(γ μ²) steps are made on separable data
    (`iteration_bound`); μ is their margin, R their radius (`separability_report`). The loss says nothing of progress: a
    higher one can mean that the end is near. For balanced classes plain descent with a large step can be faster. No
    largest margin is promised: for that take scikit-learn's `LinearSVC`.

    With K > 2 classes every class is told from the others, K problems side by side.

    Args:
        step_size: γ of "normalized" and "plain"; of the former any from 1 behaves alike.
        method: "normalized"; "plain" divides by n; "perceptron" adds one wrong sample at a time (the first);
            "batch_perceptron" is plain descent with γ → ∞, "normalized_batch_perceptron" the normalised one.
        fit_intercept: give the samples a constant column of ones, which then counts in R and μ.
        max_iter: steps at most.
        keep_best: without an end, keep the parameters with which the most training samples were right, by weight and
            then by number (the earliest of these), else the last.
        record: keep accuracy, loss, gradient norm and number of wrong samples of every step in `history_`.
        device: a torch device to compute on; None for numpy, which takes sparse input.

    Samples in float32 stay so, and the two matrix products of a step with them; all else is float64 (float32 on "mps").

    Attributes:
        coef_: (1, features), or (classes, features) for more than two.
        intercept_: (1,) or (classes,).
        classes_: the labels; of two the second is +1.
        n_iter_: steps made, for the problem that took the most.
        converged_: whether every training sample is right.
        history_: with `record`, arrays "accuracy", "loss", "gradient_norm" and "wrong", (steps + 1, problems).
        n_features_in_, feature_names_in_: as everywhere in scikit-learn.

    Raises:
        ValueError: in `fit`, a parameter out of its range, a single class, numbers that are not finite, or a step that
            overflows.

    Warns:
        ConvergenceWarning: some samples are still wrong after `max_iter` steps; it says whether the classes can be
            separated at all, where the data are not too large to find out.
    """

    # Any: parameters are stored as they come, and `fit` says what is wrong with them.
    def __init__(
        self,
        step_size: Any = 10.0,
        method: Any = "normalized",
        *,
        fit_intercept: Any = True,
        max_iter: Any = 10_000,
        keep_best: Any = True,
        record: Any = False,
        device: Any = None,
    ) -> None:
        self.step_size = step_size
        self.method = method
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.keep_best = keep_best
        self.record = record
        self.device = device

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "NormalizedLogisticRegression":
        """Look for hyperplanes. A sample's weight counts it so many times; one of weight 0 is left out."""
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=_TYPES)
        self._check_parameters()
        check_classification_targets(y)
        count = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        if not (count > 0).all():
            X, y, count = X[count > 0], y[count > 0], count[count > 0]
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"fit needs samples of two classes or more, got one class: {self.classes_}")
        problems = np.array([1]) if len(self.classes_) == 2 else np.arange(len(self.classes_))
        signs = np.where(codes[:, None] == problems, 1.0, -1.0)
        samples, signs, count = self._placed(X, signs, count[:, None])
        search = _Search(samples, signs, count, bool(self.fit_intercept))
        with np.errstate(over="ignore", invalid="ignore"):  # the search says what overflowed, and what to do
            search.run(self.method, float(self.step_size), int(self.max_iter), bool(self.record))
        theta = search.best if self.keep_best and not search.ended else search.theta
        theta = np.asarray(theta.cpu() if isinstance(theta, torch.Tensor) else theta, dtype=np.float64).T
        self.coef_, self.intercept_ = theta[:, :-1].copy(), theta[:, -1].copy()
        self.n_iter_, self.converged_ = search.steps, search.ended
        if self.record:
            self.history_ = {name: np.array(values) for name, values in search.history.items()}
        if not search.ended:
            self._warn(X, y, search)
        return self

    def decision_function(self, X: Any) -> NDArray[Any]:
        """x · θ, (samples,) for two classes, else (samples, classes). Its scale is arbitrary: it grows with γ."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=_TYPES, reset=False)
        scores = (X @ self.coef_.T.astype(X.dtype)).astype(np.float64) + self.intercept_
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: Any) -> NDArray[Any]:
        """The class on whose side a sample lies, or of the largest decision value."""
        scores = self.decision_function(X)
        chosen = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(1)
        return self.classes_[chosen]

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """The sigmoid of the decision values, of more than two classes divided by their sum.

        Separable data have no finite most likely θ: how sure these figures are depends on when the search ended.
        """
        scores = self.decision_function(X)
        if scores.ndim == 1:
            return np.column_stack([special.expit(-scores), special.expit(scores)])
        return special.softmax(special.log_expit(scores), axis=1)

    def __sklearn_tags__(self) -> Any:
        """Sparse samples are taken."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.device is None
        return tags

    def _check_parameters(self) -> None:
        check_choice("method", self.method, METHODS)
        step_size, steps = self.step_size, self.max_iter
        check("step_size", step_size, is_number(step_size) and step_size > 0, "a positive and finite number")
        check("max_iter", steps, is_whole(steps), "a whole number of at least 1")
        for name in ("fit_intercept", "keep_best", "record"):
            check_flag(name, getattr(self, name))
        if self.device is not None:
            check_device(self.device)

    def _placed(self, samples: Any, *others: Any) -> tuple[Any, ...]:
        if self.device is None:
            return (samples, *others)
        if sparse.issparse(samples):
            raise ValueError(f"sparse samples are computed by numpy: leave device None, got {self.device!r}")
        narrow = torch.device(self.device).type == "mps" or samples.dtype == np.float32
        placed = torch.as_tensor(samples, dtype=torch.float32 if narrow else torch.float64, device=self.device)
        wide = torch.float32 if torch.device(self.device).type == "mps" else torch.float64
        return (placed, *(torch.as_tensor(each, dtype=wide, device=self.device) for each in others))

    def _warn(self, X: Any, y: NDArray[Any], search: "_Search") -> None:
        wrong = f"{search.fewest_wrong} of {X.shape[0]} samples are still wrong after max_iter={self.max_iter} steps"
        judged = len(self.classes_) == 2 and X.shape[0] * X.shape[1] <= _JUDGED
        verdict = "separability_report says of two classes whether a hyperplane separates them"
        if judged:
            rows = X.toarray() if sparse.issparse(X) else X
            report = separability_report(rows, y, step_size=self.step_size, fit_intercept=self.fit_intercept)
            verdict = f"the classes are {report}"
        warnings.warn(f"{wrong}; {verdict}", ConvergenceWarning, stacklevel=3)


@dataclass
class _Search:
    """The problems that are solved side by side; θ has the intercept in its last row."""

    samples: Any
    signs: Any
    count: Any
    intercept: bool
    theta: Any = None
    best: Any = None
    steps: int = 0
    ended: bool = False
    history: dict[str, list[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (self.samples.shape[1] + 1, self.signs.shape[1])
        self.theta = self.signs.new_zeros(shape) if isinstance(self.signs, torch.Tensor) else np.zeros(shape)
        self.best, self._most = self.theta, self.theta[:1].sum(0) - 1.0
        self._wrong = 0 * self._most

    def run(self, method: str, step_size: float, max_iter: int, record: bool) -> None:
        """Step until all is right; problems that are solved stand still."""
        weights = METHODS[method]
        while True:
            margins = self._margins()
            right = margins > 0
            self._keep(right)
            if record:
                self._record(margins, right)
            open_problems = ~right.all(0)
            self.ended = not bool(open_problems.any())
            if self.ended or self.steps == max_iter:
                return
            step = weights(margins, self.count, step_size, self.steps)
            self.theta = self.theta + self._sum(step * self.signs * open_problems)
            self.steps += 1
            if not math.isfinite(float((0 * self.theta).sum())):
                raise ValueError(
                    f"the parameters overflowed in step {self.steps} with step_size={step_size:g}: take a smaller one, "
                    "or scale the features"
                )

    @property
    def fewest_wrong(self) -> int:
        """Samples that the best parameters have on the wrong side, in the problem with the most."""
        return int(self._wrong.max())

    def _margins(self) -> Any:
        scores = _cast(self.samples @ _cast(self.theta[:-1], self.samples), self.theta)
        return self.signs * (scores + self.theta[-1:])

    def _sum(self, weights: Any) -> Any:
        """Aᵀ w, with the intercept's row below."""
        last = weights.sum(0)[None] * float(self.intercept)
        rows = _cast(self.samples.T @ _cast(weights, self.samples), weights)
        return torch.cat([rows, last]) if isinstance(weights, torch.Tensor) else np.vstack([rows, last])

    def _keep(self, right: Any) -> None:
        most, wrong = (right * self.count).sum(0), (~right).sum(0)
        # a weight can be too small to change the sum of the others: the number of samples then tells them apart
        better = (most > self._most) | ((most == self._most) & (wrong < self._wrong))
        if not bool(better.any()):
            return
        where: Any = torch.where if isinstance(self.theta, torch.Tensor) else np.where
        self.best, self._most = where(better, self.theta, self.best), where(better, most, self._most)
        self._wrong = where(better, wrong, self._wrong)

    def _record(self, margins: Any, right: Any) -> None:
        total = self.count.sum()
        loss = -(log_sigmoid(margins) * self.count).sum(0) / total
        gradient = self._sum(METHODS["plain"](margins, self.count, 1.0, 1) * self.signs)
        figures = {
            "accuracy": (right * self.count).sum(0) / total,
            "loss": loss,
            "gradient_norm": (gradient * gradient).sum(0) ** 0.5,
            "wrong": (~right).sum(0),
        }
        for name, values in figures.items():
            self.history.setdefault(name, []).append([float(value) for value in values])


def _cast(array: Any, like: Any) -> Any:
    """`array` in the type of `like`."""
    return array.to(like.dtype) if isinstance(array, torch.Tensor) else array.astype(like.dtype, copy=False)
