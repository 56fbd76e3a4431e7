"""Kernel density of private data: `PrivateKernelDensity`."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from sklearn.base import DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from normkit.estimators.private.features import FRACTION_BITS, draw_frequencies, draw_projection, feature_sums
from normkit.estimators.private.queries import fourier_answers
from normkit.estimators.private.release import PrivateEstimator, Sensitivity, whole_or_nothing

__all__ = ["PrivateKernelDensity", "check_kernel_parameters"]

_COUNT_WEIGHT = {"laplace": 0.05, "gaussian": 1 / 3}
"""How heavily the count stands beside the features: it costs them 5 % more noise in either norm."""


def check_kernel_parameters(bandwidth: float | int, n_features: float | int, n_projections: float | int | None) -> None:
    """ValueError where the bandwidth or a number of features makes no sense."""
    if not 0 < bandwidth < math.inf:
        raise ValueError(f"bandwidth is {bandwidth}: give a finite number above 0")
    for name, value in (("n_features", n_features), ("n_projections", n_projections)):
        if value is not None and (value < 1 or value != int(value)):
            raise ValueError(f"{name} is {value}: give a whole number of 1 or more")


class PrivateKernelDensity(DensityMixin, PrivateEstimator):
    """Σ_x f((x − y)/bandwidth) over private rows x, for any number of queries y, from one (ε, δ)-private release.

    Released are Σ_x φ(x) for D random Fourier features (2 D numbers, see `n_features`) and, where n is private, the
    count; an answer is φ(y)ᵀ(Σ_x φ(x) + noise)/D. Its error is the noise (`noise_std`, exact) and the sampling error of
    D frequencies, at most about n/√2D.

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
        budget: a `PrivacyBudget` shared by all releases from the same data. Without one an object releases once.
        insecure_seed: for tests only: noise from this seed, and nothing is private.
        device: where queries are computed, as torch names it.

    Attributes:
        spend_: `PrivacySpend` of the release.
        sums_: the noisy Σ φ, shape (1, 2 D).
        count_: the noisy number of rows (exact under "replace_one").
        frequencies_, projection_: the public parts, shapes (d or k, D) and (d, k) or None.
        noise_variance_: variance of the noise on each entry of `sums_`.

    Raises:
        ValueError: from `fit`, for a budget, relation, kernel or size that makes no sense.
        PrivacyBudgetError: from `fit`, for a second release, or one beyond the budget; no row is read.

    Source: Backurs et al., ICLR 2024, arXiv:2403.08917; sensitivity by ‖φ(x)‖² = D.

    >>> from normkit.estimators import PrivateKernelDensity
    >>> density = PrivateKernelDensity(epsilon=1.0, delta=1e-6).fit(X)  # doctest: +SKIP
    >>> density.kde(Y), density.noise_std(Y)  # doctest: +SKIP
    """

    _released = ("sums_", "count_", "frequencies_", "projection_")

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
        check_kernel_parameters(self.bandwidth, self.n_features, self.n_projections)
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float64)
        rng = check_random_state(self.random_state)
        self.projection_ = None
        if self.n_projections is not None:
            self.projection_ = draw_projection(X.shape[1], self.n_projections, rng)
        dims = self.n_projections or X.shape[1]
        self.frequencies_ = draw_frequencies(self.kernel, dims, self.n_features, rng, self.bandwidth)
        sums = feature_sums(X, self.frequencies_, self.projection_)
        self._release_sums(sums, X.shape[0])
        return self

    def _release_sums(self, sums: Any, rows: int) -> None:
        count, steps = self.n_features, 2**FRACTION_BITS
        if self.neighbours == "replace_one":
            bound = Sensitivity(
                2 * math.sqrt(2) * count, 2 * math.sqrt(count), size=2 * count, steps=steps, touched=4 * count
            )
            self.sums_, self.count_ = self._release(sums, bound)[None], float(rows)
            return
        weight = self._count_weight()
        bound = Sensitivity(
            math.sqrt(2) * count + weight,
            math.hypot(math.sqrt(count), weight),
            size=2 * count + 1,
            steps=steps,
            touched=2 * count,
        )
        released = self._release(np.append(sums, rows * round(weight * steps)), bound)
        self.sums_, self.count_ = released[None, :-1], float(released[-1] / weight)

    def _count_weight(self) -> float:
        """The count is released as a multiple of itself, so that one scale of noise fits the whole vector."""
        kind = "gaussian" if self.delta > 0 else "laplace"
        largest = math.sqrt(self.n_features) if kind == "gaussian" else math.sqrt(2) * self.n_features
        steps = 2**FRACTION_BITS
        return round(_COUNT_WEIGHT[kind] * largest * steps) / steps

    def sum(self, Y: Any) -> Float[ndarray, "q"]:
        """Σ_x f((x − y)/bandwidth) for each query, shape (q,), in the dtype of Y (float32 or float64)."""
        check_is_fitted(self)
        Y = validate_data(self, Y, accept_sparse="csr", dtype=(np.float64, np.float32), reset=False)
        return fourier_answers(Y, self.frequencies_, self.sums_, self.projection_, self.device)[:, 0]

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

    def noise_std(self, Y: Any) -> Float[ndarray, "q"]:
        """Standard deviation of the privacy noise in each answer of `sum`: σ/√D for every query, as ‖φ(y)‖² = D."""
        check_is_fitted(self)
        Y = validate_data(self, Y, accept_sparse="csr", dtype=(np.float64, np.float32), reset=False)
        return np.full(Y.shape[0], math.sqrt(self.noise_variance_ / self.n_features))

    def estimate_error(self, Y: Any) -> Float[ndarray, "q"]:
        """The same as `noise_std`."""
        return self.noise_std(Y)

    def __sklearn_tags__(self) -> Any:
        """Sparse rows are taken in blocks."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _summed(self) -> tuple[str, ...]:
        return ("sums_", "count_")
