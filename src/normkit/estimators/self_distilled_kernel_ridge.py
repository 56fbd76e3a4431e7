"""Kernel ridge regression that learns again and again from its own predictions and the ground truth."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from normkit.estimators._learning import Samples
from normkit.estimators._self_distilled import SelfDistilled, weight_roots

__all__ = ["SelfDistilledKernelRidge"]


class SelfDistilledKernelRidge(RegressorMixin, SelfDistilled):
    """Kernel ridge regression, self-distilled: round τ is fitted to α_τ y + (1 − α_τ) y^{τ−1}, y^{τ−1} the last fit.

        f^τ(x) = k(x)ᵀ (K + λI)⁻¹ (α_τ y + (1 − α_τ) y^{τ−1}),        y^0 = y,   y^τ = f^τ(X)

    Each round shrinks every eigen-direction of K again; without the ground truth (α = 0) the rounds go to zero, with it
    to plain ridge regression with λ/α. Round 1 is `sklearn.kernel_ridge.KernelRidge(alpha=lam)`: **`alpha` here is the
    weight of the ground truth, and the ridge is called `lam`**. There is no intercept: center the targets if wanted.

    The α of a round that is best on validation data has a closed form (`optimal_alpha`). Where they are a part of the
    samples, all samples are fitted anew with the α that were found. A tuned `lam` of a single round often gets as far;
    what is saved is the search.

    Cost: one factorization O(n³), then O(n²·c) a round and output. `n_components` takes as many Nyström features in
    place of the kernel of all pairs: O(n·m²) time and O(m²) memory, for n beyond about 2·10⁴.

    Args:
        kernel: name of a kernel of scikit-learn's `pairwise_kernels`, a function of two samples, or "precomputed".
        gamma, degree, coef0, kernel_params: of the kernel, as in `KernelRidge`.
        lam: λ > 0, the ridge (λI, not nλI).
        alpha: "optimal"; a number in [0, 1] for all rounds; or one number a round, of which the first has no effect.
        n_rounds: how many rounds, the plain fit being round 1; "best": until the validation loss stops improving;
            "inf": the limit (with one number as `alpha`).
        validation_fraction: share of the samples that is set aside where α or the number of rounds is to be found and
            `fit` is given no validation data. "loo" predicts each sample without it in place of a split: exact for
            the first round and the limit, an approximation between.
        clip: keep α in [0, 1]; False allows the negative α that shrinks more than the teacher does.
        random_state: of the split and of the Nyström samples.
        n_components: Nyström samples m, or None for the exact kernel.
        solver: "eigen", which also gives `eigenvalues_`, `shrinkage_` and the limit; "cholesky", several times
            faster; "auto" takes "eigen" up to 2000 samples.
        backend: "numpy" or "torch", which factorizes on `device` (default: the GPU where there is one), in float64.
        device: a torch device.

    Attributes:
        alphas_: (n_rounds_,), the first is 1.
        val_losses_: (n_rounds_,) mean squared errors on the validation data, or None where there were none.
        n_rounds_: how many rounds; infinity for the limit.
        distilled_: whether any round is another fit than the first: False where every round gives the ground truth
            the weight 1. `fit` warns where α or the rounds were looked for and that was the answer.
        dual_coef_: (n,) or (n, c), of the last round; with `n_components` the weights of the features.
        eigenvalues_: D (n,) of the kernel matrix, ascending; None with "cholesky".
        shrinkage_: B^τ (n_rounds_, n): what is left of each eigen-direction of y; None with "cholesky".
        degrees_of_freedom_: (n_rounds_,), the trace of B^τ; None with "cholesky".
        effective_ridge_: (n_rounds_,) λ/α, the ridge that the rounds would converge to; infinite for α ≤ 0.

    Warns:
        UserWarning: "optimal" or "best" have found that nothing is to be distilled, and why: less shrinkage is wanted
            than round 1 has, round 1 meets its targets, or the gain is too small.

    Source: Borup and Andersen (2021), Even your Teacher Needs Guidance: Ground-Truth Targets Dampen Regularization
    Imposed by Self-Distillation, arXiv:2102.13088.
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> "SelfDistilledKernelRidge":
        """Fit all rounds to X (n, d) and y (n,) or (n, c).

        Args:
            X: samples, dense or sparse; the kernel matrix (n, n) where kernel="precomputed".
            y: targets.
            sample_weight: (n,), or None.
            X_val: validation samples that decide α and the number of rounds (none are set aside then); their kernel
                with the training samples where kernel="precomputed".
            y_val: their targets.
            sample_weight_val: their weights, or None.

        Raises:
            ValueError: λ ≤ 0, α outside [0, 1] with `clip`, fewer than 1 round, fewer than 2 validation samples where
                they are needed, a kernel that is not positive semidefinite (with "cholesky": one that makes a round's
                fitted values larger than its targets), or input that is not finite.
        """
        samples = self._samples(X, y, sample_weight, reset=True)
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val belong together: one of them is missing")
        held = None if X_val is None else self._samples(X_val, y_val, sample_weight_val, reset=False)
        self._learn(samples, held)
        if not self._many:
            self.dual_coef_ = self.dual_coef_[:, 0]
        return self

    def predict(self, X: Any) -> Any:
        """The last round's prediction of X (n, d): (n,) or (n, c)."""
        check_is_fitted(self)
        return self._shaped(self._values(X, self._rounds[-1:])[0])

    def staged_predict(self, X: Any) -> Iterator[Any]:
        """The prediction of each round in turn."""
        check_is_fitted(self)
        yield from (self._shaped(each) for each in self._values(X, self._rounds))

    def limit_predict(self, X: Any) -> Any:
        """The prediction after infinitely many rounds with the last α.

        Raises:
            ValueError: it was not computed (solver "cholesky"), or the last α is negative.
        """
        return self._shaped(self._limit_values(X))

    def _samples(self, X: Any, y: Any, sample_weight: Any, reset: bool) -> Samples:
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=self._sparse,
            dtype=np.float64,
            multi_output=True,
            y_numeric=True,
            reset=reset,
        )
        y = np.asarray(y, dtype=np.float64)
        if reset:
            self._many = y.ndim > 1
        return Samples(X, y.reshape(len(y), -1), weight_roots(sample_weight, X))

    def _shaped(self, values: Any) -> Any:
        return values if self._many else values[:, 0]
