"""Classes from self-distilled kernel ridge regression on centered one-hot rows."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from normkit.estimators._learning import Samples
from normkit.estimators._self_distilled import SelfDistilled, weight_roots

__all__ = ["SelfDistilledKernelClassifier"]


class SelfDistilledKernelClassifier(ClassifierMixin, SelfDistilled):
    """`SelfDistilledKernelRidge` on the one-hot rows of the classes less 1/c; the class of the largest value wins.

    Where labels are noisy the rounds let the first fit's idea of a sample overrule its label. Parameters, cost and
    fitted attributes are those of `SelfDistilledKernelRidge` (`dual_coef_` is (n, c)); a part that is set aside for
    validation keeps the classes in proportion where it can.

    Args:
        kernel: name of a kernel of scikit-learn's `pairwise_kernels`, a function of two samples, or "precomputed".
        gamma, degree, coef0, kernel_params: of the kernel, as in `KernelRidge`.
        lam: λ > 0, the ridge (λI, not nλI).
        alpha: weight of the ground truth: "optimal"; a number in [0, 1]; or one number a round.
        n_rounds: how many rounds, "best" or "inf".
        validation_fraction: share that is set aside where α or the number of rounds is to be found, or "loo".
        clip: keep α in [0, 1].
        random_state: of the split and of the Nyström samples.
        n_components: Nyström samples m, or None for the exact kernel.
        solver: "auto", "eigen" or "cholesky".
        backend: "numpy" or "torch".
        device: a torch device.

    Attributes:
        classes_: (c,) the labels, sorted.
        alphas_, val_losses_, n_rounds_, distilled_, dual_coef_, eigenvalues_, shrinkage_, degrees_of_freedom_,
            effective_ridge_: as in `SelfDistilledKernelRidge`.

    Warns:
        UserWarning: as `SelfDistilledKernelRidge`.

    Source: Borup and Andersen (2021), Even your Teacher Needs Guidance: Ground-Truth Targets Dampen Regularization
    Imposed by Self-Distillation, arXiv:2102.13088.
    """

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> "SelfDistilledKernelClassifier":
        """Fit all rounds to X (n, d) and labels y (n,).

        Args:
            X: samples, dense or sparse; the kernel matrix (n, n) where kernel="precomputed".
            y: labels, numbers or strings.
            sample_weight: (n,), or None.
            X_val: validation samples that decide α and the number of rounds (none are set aside then).
            y_val: their labels, all of which occur in `y`.
            sample_weight_val: their weights, or None.

        Raises:
            ValueError: as `SelfDistilledKernelRidge.fit`; or a validation label that does not occur in `y`.
        """
        X, y = validate_data(self, X, y, accept_sparse=self._sparse, dtype=np.float64)
        y = column_or_1d(y)
        check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        samples = Samples(X, self._targets(numbers), weight_roots(sample_weight, X))
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val belong together: one of them is missing")
        held = None if X_val is None else self._held(X_val, y_val, sample_weight_val)
        self._learn(samples, held, strata=numbers)
        return self

    def decision_function(self, X: Any) -> Any:
        """The last round's values: (n, c), or for two classes (n,), positive for the second."""
        check_is_fitted(self)
        values = self._values(X, self._rounds[-1:])[0]
        return values[:, 1] - values[:, 0] if len(self.classes_) == 2 else values

    def predict(self, X: Any) -> Any:
        """The last round's classes of X (n, d): (n,)."""
        check_is_fitted(self)
        return self._classes(self._values(X, self._rounds[-1:])[0])

    def staged_predict(self, X: Any) -> Iterator[Any]:
        """The classes of each round in turn."""
        check_is_fitted(self)
        yield from (self._classes(each) for each in self._values(X, self._rounds))

    def limit_predict(self, X: Any) -> Any:
        """The classes after infinitely many rounds with the last α.

        Raises:
            ValueError: it was not computed (solver "cholesky"), or the last α is negative.
        """
        return self._classes(self._limit_values(X))

    def _held(self, X: Any, y: Any, sample_weight: Any) -> Samples:
        X, y = validate_data(self, X, y, accept_sparse=self._sparse, dtype=np.float64, reset=False)
        y = column_or_1d(y)
        if strange := np.setdiff1d(y, self.classes_).tolist():
            raise ValueError(f"y_val holds the label {strange[0]!r}, which does not occur in y")
        return Samples(X, self._targets(np.searchsorted(self.classes_, y)), weight_roots(sample_weight, X))

    def _targets(self, numbers: Any) -> Any:
        classes = len(self.classes_)
        return np.eye(classes)[numbers] - 1 / classes

    def _classes(self, values: Any) -> Any:
        return self.classes_[values.argmax(axis=1)]
