"""A regressor for targets that are a function of a hidden polynomial: h = g(p(x)).

Source: Wang, Nichani, Lee 2024, "Learning Hierarchical Polynomials with Three-Layer Neural Networks",
arXiv:2311.13774. No code of the authors is public.
"""

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, RegressorMixin, TransformerMixin
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from normkit.estimators._infinite_units import InfiniteUnits
from normkit.estimators._layerwise import Descent, Problem, Sample
from normkit.estimators._layerwise_algebra import algebra
from normkit.estimators._layerwise_options import check_link_memory, check_memory, check_options
from normkit.estimators._layerwise_report import LayerwiseReport
from normkit.estimators._monomials import count, names
from normkit.estimators._random_units import RandomUnits

if TYPE_CHECKING:
    from normkit.nn import LayerwiseThreeLayer

__all__ = ["HierarchicalPolynomialRegressor"]

_HELD_OUT = 0.2
"""The last part of the first stage's sample, which chooses ξ₁."""


class HierarchicalPolynomialRegressor(ClassNamePrefixFeaturesOutMixin, TransformerMixin, RegressorMixin, BaseEstimator):
    """h(x) = ĝ(x) + cᵀ relu(a ĝ°(x) + b)/√m₁ with ĝ(x) = uᵀ σ₁(V x)/√m₂ and ĝ° = (ĝ − mean)/std, layer by layer.

    Stage 1 fits a polynomial of degree k to the target: that part of it *is* the hidden feature p, up to its scale, if
    p is nearly Gaussian and E g′ ≠ 0. Standardised to one number, it carries a one-dimensional link, which stage 2 fits
    on a fresh part of the sample. So the error depends on n/d^k, where a kernel that fits h at once needs d^{kq}.

    It is a transformer too: `transform` gives the hidden feature, to a later step of a pipeline.
    Features are standardised, y is centred; V (rows on the unit sphere), a (±1) and b ~ N(0, 1) are drawn and stay.

    Args:
        degree: k, the degree of the hidden feature.
        n_features_1: m₂, random polynomial units of the first stage; None is 3 d^k, `math.inf` the kernel that they
            tend to, computed exactly, and far quicker where 3 d^k are more than the samples.
        n_features_2: m₁, random ReLUs of the link.
        split: share of the samples, in random order, for stage 1; the others are for stage 2.
        solver: "exact", or "gd", the paper's gradient descent from 0.
        n_iter: steps of "gd" in both stages.
        weight_decay: ξ of both stages; "auto" chooses from 10^−6 to 10^1.5 by the last 20 % of the first stage's
            samples and fits again on all of them (in stage 1 only).
        random_state: a seed, a numpy RandomState, or None; for the order of the samples and what is drawn.
        backend: "numpy" or "torch", both in float64.
        step_size: η of "gd" in both stages; None is 1/(λ_max + ξ).
        gaussianize: map every feature to a normal distribution by its ranks first, as the theory wants it.
        center: subtract from every unit of stage 1 its mean over the sample. On the unit sphere the constant of σ₁ is
            tied to the trace of a quadratic p: as in the paper, p of trace 0 is found best without, any other with it.
        device: of the torch backend.
        sync: for the torch backend, share the sums of stage 1 among the ranks of `torch.distributed`, each of which
            calls `fit` with the same, whole sample and the same seed, and gets the same network.

    Attributes:
        directions_: V (m₂, d). signs_, offsets_: a and b (m₁,).
        coef_1_: u (m₂,); with infinite width of the C(d+k, k) monomials, or of the `samples_` where these are fewer.
        coef_2_: c (m₁,).
        feature_mean_, feature_std_: of ĝ over the first stage's sample.
        intercept_: mean of y there, less that of ĝ with `center`.
        weight_decay_: ξ of both stages as taken.
        scaler_: what standardises the features.
        report_: `LayerwiseReport`, what was learned by which stage; print it.
        n_features_in_, feature_names_in_: as everywhere in scikit-learn.

    Raises:
        ValueError: in `fit`, a parameter out of its range, fewer than 10 samples for stage 1 or 2 for stage 2, or more
            features than the memory holds (the message gives the number).

    Warns:
        UserWarning: stage 1 has learned nothing, as where E g′ = 0: its correlation with fresh targets is within noise.
            For k ≥ 2 in few dimensions an even link mostly goes unnoticed: p is not Gaussian, and a little is seen.
    """

    # Any: parameters are stored as they come, and `fit` says what is wrong with them.
    def __init__(
        self,
        degree: Any = 2,
        n_features_1: Any = None,
        n_features_2: Any = 200,
        split: Any = 0.75,
        solver: Any = "exact",
        n_iter: Any = (2000, 2000),
        weight_decay: Any = ("auto", 1e-3),
        random_state: Any = None,
        backend: Any = "numpy",
        *,
        step_size: Any = (None, None),
        gaussianize: Any = False,
        center: Any = False,
        device: Any = None,
        sync: Any = False,
    ) -> None:
        self.degree = degree
        self.n_features_1 = n_features_1
        self.n_features_2 = n_features_2
        self.split = split
        self.solver = solver
        self.n_iter = n_iter
        self.weight_decay = weight_decay
        self.random_state = random_state
        self.backend = backend
        self.step_size = step_size
        self.gaussianize = gaussianize
        self.center = center
        self.device = device
        self.sync = sync

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "HierarchicalPolynomialRegressor":
        """Fit both stages. Samples of weight 0 are left out before the order is drawn."""
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        check_options(self)
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        X, y, weight = X[weight > 0], y[weight > 0].astype(np.float64), weight[weight > 0]
        first, second = self._sizes(*X.shape)
        self._algebra = algebra(self.backend, self.device, self.sync)
        draw = check_random_state(self.random_state)
        order = draw.permutation(len(X))
        self._draw(draw, X.shape[1])
        self.scaler_ = self._scaler(X, weight)
        X, y, weight = self.scaler_.transform(X)[order], y[order], weight[order]
        self._fit_feature(X[:first], y[:first], weight[:first])
        self._fit_link(X[first : first + second], y[first:], weight[first:])
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """h(X), (samples,)."""
        return self.link(self.feature_transform(X))

    def feature_transform(self, X: Any) -> NDArray[Any]:
        """ĝ°(X), (samples,): the learned hidden feature, up to its sign, with mean 0 and variance 1."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return self._standard(self._first(self.scaler_.transform(X)))

    def transform(self, X: Any) -> NDArray[Any]:
        """ĝ°(X) as one column, (samples, 1): the regressor as a step before another model."""
        return self.feature_transform(X)[:, None]

    def link(self, z: Any) -> NDArray[Any]:
        """The learned link g, the prediction where ĝ° = z, in the shape of z."""
        check_is_fitted(self)
        z = np.asarray(z, dtype=np.float64)
        bend = self._bends(z.ravel()) @ self.coef_2_
        return self.intercept_ + self.feature_mean_ + self.feature_std_ * z + bend.reshape(z.shape)

    def feature_polynomial(self) -> dict[str, float]:
        """ĝ° as {monomial: coefficient} in the standardised features, the largest coefficients first.

        Monomials are named as by scikit-learn's `PolynomialFeatures`: `1`, `a`, `a^2`, `a b`.
        """
        check_is_fitted(self)
        stage = self._stage()
        w = self._algebra.numpy(stage.polynomial(self._algebra.array(self.coef_1_))) / self.feature_std_
        w[0] -= self.feature_mean_ / self.feature_std_
        features = getattr(self, "feature_names_in_", [f"x{which}" for which in range(self.n_features_in_)])
        order = np.argsort(-np.abs(w))
        every = names(list(features), self.degree)
        return {every[which]: float(w[which]) for which in order}

    def to_torch(self) -> "LayerwiseThreeLayer":
        """The fitted network as a `normkit.nn.LayerwiseThreeLayer` in float64, which takes features as they come.

        Raises:
            ValueError: with `gaussianize` or infinite width, which are no such network.
        """
        from normkit.estimators._layerwise_options import network_of

        check_is_fitted(self)
        return network_of(self)

    @property
    def _n_features_out(self) -> int:
        return 1

    def _sizes(self, n: int, d: int) -> tuple[int, int]:
        first = int(self.split * n)
        if first < 10 or n - first < 2:
            raise ValueError(
                f"n_samples = {n}, n_features = {d}, split = {self.split}: {first} samples for stage 1 and {n - first} "
                "for stage 2; they need at least 10 and 2"
            )
        width = self._width(d)
        check_memory(first, d, self.degree, width)
        check_link_memory(n - first, self.n_features_2)
        return first, n - first

    def _width(self, d: int) -> int | float:
        return 3 * d**self.degree if self.n_features_1 is None else self.n_features_1

    def _draw(self, draw: np.random.RandomState, d: int) -> None:
        if self.n_features_1 != math.inf:
            rows = draw.standard_normal((int(self._width(d)), d))
            self.directions_ = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        self.signs_ = 2.0 * draw.randint(2, size=self.n_features_2) - 1.0
        self.offsets_ = draw.standard_normal(self.n_features_2)

    def _scaler(self, X: NDArray[Any], weight: NDArray[Any]) -> Any:
        if not self.gaussianize:
            return StandardScaler().fit(X, sample_weight=weight)
        ranks = QuantileTransformer(n_quantiles=min(1000, len(X)), output_distribution="normal", subsample=None)
        return make_pipeline(ranks, StandardScaler()).fit(X, standardscaler__sample_weight=weight)

    def _descent(self, stage: int) -> Descent | None:
        return None if self.solver == "exact" else Descent(self.n_iter[stage], self.step_size[stage])

    def _stage(self) -> RandomUnits | InfiniteUnits:
        if self.n_features_1 == math.inf:
            samples = None if self.samples_ is None else self._algebra.array(self.samples_)
            return InfiniteUnits(samples, self.degree, bool(self.center), self._algebra)
        return RandomUnits(self._algebra.array(self.directions_), self.degree, bool(self.center), self._algebra)

    def _fit_feature(self, X: NDArray[Any], y: NDArray[Any], weight: NDArray[Any]) -> None:
        """u, and the statistics of ĝ."""
        weight = weight / weight.sum()
        mean = float(weight @ y)
        if self.n_features_1 == math.inf:
            self.samples_ = X if len(X) < count(X.shape[1], self.degree) else None
        array, cut = self._algebra.array, len(X) - max(1, int(_HELD_OUT * len(X)))
        sample = Sample(array(X), array(y - mean), array(weight), cut)
        fitted = self._stage().fit(sample, self.weight_decay[0], self._descent(0))
        self.coef_1_, self.weight_decay_ = (
            self._algebra.numpy(fitted.coefficients),
            (fitted.decay, self.weight_decay[1]),
        )
        first = self._first(X)
        self.feature_mean_ = float(weight @ first)
        self.intercept_ = mean - self.feature_mean_ if self.center else mean
        self.feature_std_ = math.sqrt(float(weight @ (first - self.feature_mean_) ** 2)) or 1.0

    def _fit_link(self, X: NDArray[Any], y: NDArray[Any], weight: NDArray[Any]) -> None:
        """c, and the report."""
        weight = weight / weight.sum()
        first = self._first(X)
        z, residual = self._standard(first), y - self.intercept_ - first
        bends = self._bends(z)
        problem = Problem(bends.T @ (bends * weight[:, None]), bends.T @ (residual * weight))
        self.coef_2_ = problem.minimum(self.weight_decay[1], algebra("numpy"), self._descent(1))
        whole = self.link(z)
        self.report_ = LayerwiseReport.of(y, weight, self.intercept_ + first, whole, self.link)
        if self.report_.blind:
            warnings.warn(
                f"stage 1 has learned nothing: its correlation with {len(y)} fresh targets is "
                f"{self.report_.correlation:.3f}, within noise ({self.report_.noise:.3f}). Either E g′ = 0 (an even "
                f"link), the feature's degree is not {self.degree}, or there are too few samples",
                UserWarning,
                stacklevel=3,
            )

    def _first(self, X: NDArray[Any]) -> NDArray[Any]:
        """ĝ of standardised features."""
        values = self._stage().value(self._algebra.array(X), self._algebra.array(self.coef_1_))
        return self._algebra.numpy(values)

    def _standard(self, first: NDArray[Any]) -> NDArray[Any]:
        return (first - self.feature_mean_) / self.feature_std_

    def _bends(self, z: NDArray[Any]) -> NDArray[Any]:
        """relu(a z + b)/√m₁, (samples, m₁)."""
        return np.maximum(z[:, None] * self.signs_ + self.offsets_, 0.0) / math.sqrt(self.n_features_2)
