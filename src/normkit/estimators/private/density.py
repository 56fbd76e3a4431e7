"""Kernel density of private data: `PrivateKernelDensity`."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from sklearn.base import DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from normkit.estimators._parameters import check_choice, check_device, check_number, check_whole
from normkit.estimators.private.features import (
    FRACTION_BITS,
    KERNELS,
    draw_frequencies,
    draw_projection,
    feature_sums,
)
from normkit.estimators.private.queries import fourier_answers, fourier_errors
from normkit.estimators.private.release import PrivateEstimator, whole_or_nothing
from normkit.estimators.private.scale import Sensitivity

__all__ = ["PrivateKernelDensity", "check_kernel_parameters"]

_COUNT_WEIGHT = {"laplace": 0.05, "gaussian": 1 / 3}
"""How heavily the count stands beside the features: it costs them 5 % more noise in either norm."""


def check_kernel_parameters(bandwidth: Any, n_features: Any, n_projections: Any, device: Any) -> None:
    """ValueError where the bandwidth, a number of features or the device makes no sense."""
    check_number("bandwidth", bandwidth, 0.0, "a finite number above 0")
    check_whole("n_features", n_features, 1, "a whole number of 1 or more")
    if n_projections is not None:
        check_whole("n_projections", n_projections, 1, "None, or a whole number of 1 or more")
    check_device(device)


class PrivateKernelDensity(DensityMixin, PrivateEstimator):
    """Σ_x f((x − y)/bandwidth) over private rows x, for any number of queries y, from one (ε, δ)-private release.

    Released are Σ_x φ(x) for D random Fourier features (2 D numbers, see `n_features`) and, where n is private, the
    count; an answer is φ(y)ᵀ(Σ_x φ(x) + noise)/D. Its error is the noise (`noise_std`, exact) and the sampling error of
    D frequencies, at most about n/√2D, which is often the larger part: `estimate_error` estimates both together.

    Args:
        kernel: "gaussian" e^{−‖z‖₂²}, "exponential" e^{−‖z‖₂}, "laplacian" e^{−‖z‖₁}, "cauchy" 1/(1 + ‖z‖₂²), "inv_l2"
            1/(1 + ‖z‖₂) or "inv_l1" 1/(1 + ‖z‖₁), of z = (x − y)/bandwidth.
        bandwidth: in the unit of the data; note that the Gaussian has no factor 2. Choose it without looking at the
            data, as everything else here: tuning on private data spends budget too.
        epsilon: ε > 0, the budget of this release.
        delta: δ in [0, 1): 0 gives Laplace noise and pure privacy, above 0 Gaussian noise.
        n_features: D, the number of frequencies. A public rule is min(512, n ε): noise grows with √D.
        n_projections: rows are first projected to so many dimensions, which makes queries cheaper at high dimension.
        neighbours: what one record is: "add_remove" (one row more or less) or "replace_one" (n is public, one row is
            another; noise doubles).
        random_state: seed of the *public* frequencies; never of the noise.
        noise: None or "opendp" (exact samplers of the extra `private`), or "fast" (own sampler from the system's
            entropy, its distance from the exact law counted in δ).
        mechanism: None takes it from `delta`; "laplace" or "gaussian" insist.
        budget: a `PrivacyBudget` shared by all releases from the same data, and by clones. Without one an object
            releases once, and each clone once more: cross-validation, searches and ensembles fit clones, so give them a
            budget (and n_jobs=1, for it counts in one process).
        insecure_seed: for tests only: noise from this seed, and nothing is private.
        device: where queries are computed, as torch names it.

    Attributes:
        spend_: `PrivacySpend` of the release.
        sums_: the noisy Σ φ, shape (1, 2 D).
        count_: the noisy number of rows (exact under "replace_one").
        frequencies_, projection_: the public parts, shapes (d or k, D) and (d, k) or None.
        kernel_, bandwidth_: those of the release; parameters that are changed later change no answer, but `device`.
        noise_variance_: variance of the noise on each entry of `sums_`.

    Raises:
        ValueError: from `fit`, for a budget, relation, kernel or size that makes no sense.
        PrivacyBudgetError: from `fit`, for a second release, or one beyond the budget; no row is read.

    Source: Backurs et al., ICLR 2024, arXiv:2403.08917; sensitivity by ‖φ(x)‖² = D.

    >>> from normkit.estimators import PrivateKernelDensity
    >>> density = PrivateKernelDensity(epsilon=1.0, delta=1e-6).fit(X)  # doctest: +SKIP
    >>> density.sum(Y), density.estimate_error(Y)  # doctest: +SKIP
    """

    _released = ("sums_", "count_", "frequencies_", "projection_", "kernel_", "bandwidth_")

    def __init__(
        self,
        kernel: Any = "gaussian",
        bandwidth: Any = 1.0,
        *,
        epsilon: Any,
        delta: Any = 0.0,
        n_features: Any = 512,
        n_projections: Any = None,
        neighbours: Any = "add_remove",
        random_state: Any = None,
        noise: Any = None,
        mechanism: Any = None,
        budget: Any = None,
        insecure_seed: Any = None,
        device: Any = "cpu",
    ) -> None:
        self.kernel = kernel
        self.bandwidth = bandwidth
        self.epsilon = epsilon
        self.delta = delta
        self.n_features = n_features
        self.n_projections = n_projections
        self.neighbours = neighbours
        self.random_state = random_state
        self.noise = noise
        self.mechanism = mechanism
        self.budget = budget
        self.insecure_seed = insecure_seed
        self.device = device

    @whole_or_nothing
    def fit(self, X: Any, y: Any = None) -> "PrivateKernelDensity":
        """Release the noisy sums of the rows X, shape (n, d), dense or CSR, and forget them."""
        self._check_budget()
        check_choice("kernel", self.kernel, KERNELS)
        check_kernel_parameters(self.bandwidth, self.n_features, self.n_projections, self.device)
        plan = self._plan(self._sensitivity())
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float64)
        self.kernel_, self.bandwidth_ = self.kernel, float(self.bandwidth)
        rng = check_random_state(self.random_state)
        self.projection_ = None
        if self.n_projections is not None:
            self.projection_ = draw_projection(X.shape[1], int(self.n_projections), rng)
        dims = int(self.n_projections or X.shape[1])
        self.frequencies_ = draw_frequencies(self.kernel, dims, int(self.n_features), rng, self.bandwidth_)
        sums = feature_sums(X, self.frequencies_, self.projection_)
        if self.neighbours == "replace_one":
            self.sums_, self.count_ = self._release(sums, plan)[None], float(X.shape[0])
        else:
            weight = self._count_weight()
            released = self._release(np.append(sums, X.shape[0] * round(weight * plan.steps)), plan)
            self.sums_, self.count_ = released[None, :-1], float(released[-1] / weight)
        return self

    def _sensitivity(self) -> Sensitivity:
        count, steps = int(self.n_features), 2**FRACTION_BITS
        l1, l2 = math.sqrt(2) * count, math.sqrt(count)
        if self.neighbours == "replace_one":
            return Sensitivity(2 * l1, 2 * l2, size=2 * count, steps=steps, touched=4 * count)
        weight = self._count_weight()
        return Sensitivity(l1 + weight, math.hypot(l2, weight), size=2 * count + 1, steps=steps, touched=2 * count)

    def _count_weight(self) -> float:
        return _weight_of_count("gaussian" if self.delta > 0 else "laplace", int(self.n_features))

    def sum(self, Y: Any) -> Float[ndarray, "q"]:
        """Σ_x f((x − y)/bandwidth) for each query, shape (q,), in the dtype of Y (float32 or float64)."""
        check_is_fitted(self)
        Y = validate_data(self, Y, accept_sparse="csr", dtype=(np.float64, np.float32), reset=False)
        return self._sums(Y)

    def kde(self, Y: Any) -> Float[ndarray, "q"]:
        """The mean of the kernel over the rows: `sum` over the released count, which is taken as 1 or more."""
        return self.sum(Y) / max(self.count_, 1.0)

    def score_samples(self, Y: Any) -> Float[ndarray, "q"]:
        """log of the density, clipped to [the machine's epsilon, 1] since noise may put it below zero."""
        density = self.kde(Y)
        return np.log(np.clip(density, np.finfo(density.dtype).eps, 1.0))

    def score(self, Y: Any, y: Any = None) -> float:
        """The sum of `score_samples`, as scikit-learn's KernelDensity has it."""
        return float(self.score_samples(Y).sum())

    def noise_std(self, Y: Any, *, mean: bool = False) -> Float[ndarray, "q"]:
        """Standard deviation of the privacy noise in each answer of `sum`: σ/√D for every query, as ‖φ(y)‖² = D.

        With `mean` that of each answer of `kde`, whose divisor has noise of its own: √(Var S + (S/N)² Var N)/N to
        first order, which holds while the count N is many deviations of its noise.
        """
        check_is_fitted(self)
        Y = validate_data(self, Y, accept_sparse="csr", dtype=(np.float64, np.float32), reset=False)
        noise = np.full(Y.shape[0], math.sqrt(self.noise_variance_ / self.frequencies_.shape[1]))
        return self._of_mean(Y, noise) if mean else noise

    def estimate_error(self, Y: Any, *, mean: bool = False) -> Float[ndarray, "q"]:
        """Standard error of each answer of `sum` as an estimate of the exact sum: noise and frequencies together.

        An answer is a mean over D frequencies, drawn independently, of what each of them says, noise included:
        a_j = cos(ω_jᵀy) C_j + sin(ω_jᵀy) S_j. So its standard error is that of any mean, std_j(a_j)/√D, from released
        numbers alone. Not in it: what `n_projections` changes of the distances. With one frequency it is infinite.
        It is an estimate itself, and where D is small and few rows are similar to a query one that tends to be too
        small: with D = 64 and a bandwidth of one deviation of the data in four columns, the root mean square of
        error/estimate is about 1.1 ("laplacian": 1.2, and 3 % of errors are beyond three estimates); from D = 512 on
        it is 1.

        With `mean` the error of each answer of `kde`, the noise of the count included as in `noise_std`.
        """
        check_is_fitted(self)
        Y = validate_data(self, Y, accept_sparse="csr", dtype=np.float64, reset=False)
        error = fourier_errors(Y, self.frequencies_, self.sums_, self.projection_, self.device)[:, 0]
        return self._of_mean(Y, error) if mean else error

    def _sums(self, Y: Any) -> Float[ndarray, "q"]:
        return fourier_answers(Y, self.frequencies_, self.sums_, self.projection_, self.device)[:, 0]

    def _of_mean(self, Y: Any, error: Float[ndarray, "q"]) -> Float[ndarray, "q"]:
        """The error of `kde` from that of `sum`; the count's noise is drawn apart from that of the sums."""
        if self.spend_.relation == "replace_one":
            return error / self.count_
        weight, divisor = _weight_of_count(self.spend_.mechanism, self.frequencies_.shape[1]), max(self.count_, 1.0)
        return np.hypot(error, self._sums(Y) / divisor * (math.sqrt(self.noise_variance_) / weight)) / divisor

    def _public(self) -> dict[str, Any]:
        kept = None if self.projection_ is None else self.projection_.shape[1]
        return {
            "kernel": self.kernel_,
            "bandwidth": self.bandwidth_,
            "n_features": self.frequencies_.shape[1],
            "n_projections": kept,
            "projection_": self.projection_,
            "frequencies_": self.frequencies_,
        }

    def __sklearn_tags__(self) -> Any:
        """Sparse rows are taken in blocks."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _summed(self) -> tuple[str, ...]:
        return ("sums_", "count_")


def _weight_of_count(mechanism: str, n_features: int) -> float:
    """The count is released as a multiple of itself, so that one scale of noise fits the whole vector."""
    largest = math.sqrt(n_features) if mechanism == "gaussian" else math.sqrt(2) * n_features
    steps = 2**FRACTION_BITS
    return round(_COUNT_WEIGHT[mechanism] * largest * steps) / steps
