"""Logistic regression by gradient descent whose step does not shrink with the share of samples that are wrong.

Source: Tyurin 2025, "From Logistic Regression to the Perceptron Algorithm: Exploring Gradient Descent with Large Step
Sizes", arXiv:2412.08424. No code of the author is public.
"""

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse, special
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from normkit.estimators._hyperplane_search import Search
from normkit.estimators._parameters import check, check_choice, check_device, check_flag, is_number, is_whole
from normkit.estimators._separation import METHODS
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
        largest_loss_, loss_increases_: with `record`, of each problem the largest loss while a sample was wrong, and in
            how many steps the loss rose: it is no measure of progress.
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

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, coef_init: Any = None, intercept_init: Any = None
    ) -> "NormalizedLogisticRegression":
        """Look for hyperplanes.

        Args:
            X: samples (n, d), dense or sparse.
            y: labels (n,).
            sample_weight: (n,), how often a sample counts; one of weight 0 is left out.
            coef_init: where the search starts, in the shape of `coef_`; None is 0, which the bounds assume.
            intercept_init: the same for `intercept_`.
        """
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
        start = self._start(X.shape[1], len(problems), coef_init, intercept_init)
        begun = coef_init is not None or intercept_init is not None
        samples, signs, count, theta = self._placed(X, signs, count[:, None], start)
        search = Search(samples, signs, count, theta, bool(self.fit_intercept), begun)
        with np.errstate(over="ignore", invalid="ignore"):  # the search says what overflowed, and what to do
            search.run(self.method, float(self.step_size), int(self.max_iter), bool(self.record))
        theta = search.best if self.keep_best and not search.ended else search.theta
        theta = np.asarray(theta.cpu() if isinstance(theta, torch.Tensor) else theta, dtype=np.float64).T
        self.coef_, self.intercept_ = theta[:, :-1].copy(), theta[:, -1].copy()
        self.n_iter_, self.converged_ = search.steps, search.ended
        if self.record:
            self.history_ = {name: np.array(values) for name, values in search.history.items()}
            loss, open_ = self.history_["loss"], self.history_["wrong"] > 0
            self.largest_loss_ = np.where(open_, loss, -np.inf).max(0)
            self.loss_increases_ = (np.diff(loss, axis=0) > 0).sum(0)
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

    def _start(self, features: int, problems: int, coef: Any, intercept: Any) -> NDArray[Any]:
        """θ_0 (features + 1, problems), the intercepts in the last row."""
        if intercept is not None and not self.fit_intercept:
            raise ValueError("intercept_init is given and fit_intercept is False: leave one of them out")
        theta = np.zeros((problems, features + 1))
        for name, value, part in (("coef_init", coef, theta[:, :-1]), ("intercept_init", intercept, theta[:, -1])):
            if value is None:
                continue
            given = check_array(value, ensure_2d=False, dtype=np.float64, input_name=name)
            if given.size != part.size or given.shape[-1:] != part.shape[-1:]:
                raise ValueError(f"{name} has the shape {given.shape}: it must have {part.shape}")
            part[...] = given.reshape(part.shape)
        return np.ascontiguousarray(theta.T)

    def _placed(self, samples: Any, *others: Any) -> tuple[Any, ...]:
        if self.device is None:
            return (samples, *others)
        if sparse.issparse(samples):
            raise ValueError(f"sparse samples are computed by numpy: leave device None, got {self.device!r}")
        narrow = torch.device(self.device).type == "mps" or samples.dtype == np.float32
        placed = torch.as_tensor(samples, dtype=torch.float32 if narrow else torch.float64, device=self.device)
        wide = torch.float32 if torch.device(self.device).type == "mps" else torch.float64
        return (placed, *(torch.as_tensor(each, dtype=wide, device=self.device) for each in others))

    def _warn(self, X: Any, y: NDArray[Any], search: Search) -> None:
        wrong = f"{search.fewest_wrong} of {X.shape[0]} samples are still wrong after max_iter={self.max_iter} steps"
        judged = len(self.classes_) == 2 and X.shape[0] * X.shape[1] <= _JUDGED
        verdict = "separability_report says of two classes whether a hyperplane separates them"
        if judged:
            rows = X.toarray() if sparse.issparse(X) else X
            report = separability_report(rows, y, step_size=self.step_size, fit_intercept=self.fit_intercept)
            verdict = f"the classes are {report}"
        warnings.warn(f"{wrong}; {verdict}", ConvergenceWarning, stacklevel=3)
