"""Partial correlation of compositional data: what two parts share beyond all others, whatever the reference.

With clr coordinates z of N samples of D parts, Γ = cov(z) and P = Γ⁺:

    ρ_ij = −P_ij/√(P_ii P_jj)        v_i = 1/P_ii        R²_i = 1 − v_i/Γ_ii

For every reference part r the inverse of the covariance of log(x_i/x_r) is P without row and column r, so ρ_ij belongs
to the two parts and not to the reference. With few samples the covariance C* of the log proportions (the basis) is
shrunk first, and Γ = G C* G with G = I − 11ᵀ/D.

Source: I. Erb (2020), Partial Correlations in Compositional Data Analysis, Applied Computing and Geosciences 6,
arXiv:1904.09480; shrinkage: S. Jin, C. Notredame, I. Erb (2022), arXiv:2212.00496.
"""

import warnings
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy import linalg, sparse
from sklearn.base import BaseEstimator
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted

from normkit.estimators import _partial_plots as plots
from normkit.estimators._arrays import as_numpy
from normkit.estimators._partial_edges import edges_of, kept_pairs, why_untested
from normkit.estimators._partial_estimate import Estimate, Shrinkage, chosen_shrinkage, estimate
from normkit.estimators._partial_options import check_options
from normkit.estimators._parts import framed, names_of, place_of, several, validated
from normkit.estimators._precision import symmetric
from normkit.estimators._significance import false_discovery_rates, p_values, smallest_cutoff
from normkit.estimators.compositions import clr, orthonormal_basis
from normkit.estimators.shrinkage import CONSTANT
from normkit.estimators.zeros import replace_zeros
from normkit.extras import require

__all__ = ["PartialCorrelation", "partial_correlation"]

_TIED = (
    "a product of powers ties {} to each other in every sample (a duplicate, say): given all others nothing is left of "
    "them, so their correlations are NaN and p-values are withheld; leave one out"
)
_FIGURES = {
    "partial_correlation": "partial_correlation_",
    "precision": "precision_",
    "covariance": "covariance_",
    "p_value": "p_values_",
}


def partial_correlation(X: ArrayLike, shrinkage: Any = "auto", zeros: Any = "error") -> Any:
    """ρ of every two parts given all others, (N, D) to (D, D): `PartialCorrelation` without the estimator.

    Args:
        X: positive parts, at least 3 samples of 3 parts.
        shrinkage: as for `PartialCorrelation`.
        zeros: as for `PartialCorrelation`.

    Returns:
        Symmetric, in [−1, 1], 1 on the diagonal; a DataFrame with the parts as rows and columns where X is one.

    Raises:
        ValueError: as `PartialCorrelation.fit`.
    """
    return framed(PartialCorrelation(shrinkage=shrinkage, zeros=zeros).fit(X).partial_correlation_, X)


class PartialCorrelation(BaseEstimator):
    """Partial correlations of compositions, with shrinkage, tests and edges of a network.

    ρ_ij = −P_ij/√(P_ii P_jj) with P the pseudo-inverse of the covariance Γ of centred log-ratios: the correlation of
    what the other parts leave of log x_i and log x_j. It depends neither on a reference part nor on the totals of the
    rows.

    Args:
        shrinkage: None (P = Γ⁺), "basis" (shrink the covariance of the log proportions first, λ and λ_v estimated), a
            number (λ of the basis correlations; λ_v is estimated), "clr" (shrink that of the centred log-ratios: for
            comparison, depends on the transform), or "auto": "basis" where N < 5 D, else None.
        zeros: "error", "min" (smallest positive entry), "multiplicative" or a pseudocount; see `replace_zeros`.
            Shrinkage does not stand in for it.
        fdr: rate of false discoveries that `edges` allows.
        n_permutations: how often each column is permuted on its own for the false discovery rate, with λ and λ_v held
            at the observed ones; 0 leaves that out.
        cutoff: keep only pairs with |ρ| ≥ cutoff, as sparse matrices: no D×D array is formed where D > N, so that 2·10⁴
            parts fit in memory. None keeps all pairs. The tests of `edges` count all of them either way.
        n_jobs: processes for the permutations, through joblib.
        random_state: of the permutations.
        backend: "numpy", or "torch" for the linear algebra, in float64.
        device: of torch, such as "cuda".

    Attributes:
        partial_correlation_: ρ (D, D), 1 on the diagonal; sparse with `cutoff`. Without shrinkage (None or 0), NaN for
            the pairs of parts that are log-linearly dependent (log x_i a combination of others with weights of sum 1,
            such as duplicates), with a warning; 0 for the geometric mean of the others, which has no centred log-ratio.
        precision_: P (D, D), in 1/nats²; its rows sum to 0 but for "clr". Sparse with `cutoff`, on the same pairs.
        partial_variance_: v (D,), in nats²: variance of log(x_i/x_r) that the other log-ratios to r leave; 0 where a
            part is log-linearly dependent, NaN where its centred log-ratio does not vary.
        covariance_: Γ (D, D) in nats²; not with `cutoff`.
        location_: mean of the centred log-ratios (D,).
        shrinkage_, variance_shrinkage_: λ and λ_v that were used; 0 without shrinkage.
        degrees_of_freedom_: ν = N − D + 1 of the t-test, D without parts of constant centred log-ratio; None with
            shrinkage, where ν < 1, or where parts are log-linearly dependent.
        p_values_: two-sided, of ρ_ij = 0 (D, D), not adjusted, 0 on the diagonal; None where ν is, or with `cutoff`
            (`edges` gives those of the pairs that were kept).
        fdr_cutoff_: smallest observed |ρ| at which permutations give a false discovery rate of at most `fdr`, infinite
            where none does; None without permutations.
        n_features_in_, feature_names_in_: as everywhere in scikit-learn; results bear a DataFrame's names, be they
            strings or numbers.

    Shape: X (N, D) with N ≥ 3, D ≥ 3, of positive amounts in any unit, a DataFrame or an array. Time O(N²D) where
    D > N, plus O(N D²) for the pairs.

    Source: Erb 2020, arXiv:1904.09480; Jin et al. 2022, arXiv:2212.00496 (shrinkage); Martín-Fernández et al. 2003
    (zeros).
    """

    partial_correlation_: Any
    p_values_: Any

    def __init__(
        self,
        *,
        shrinkage: Any = "auto",
        zeros: Any = "error",
        fdr: Any = 0.05,
        n_permutations: Any = 0,
        cutoff: Any = None,
        n_jobs: Any = None,
        random_state: Any = None,
        backend: Any = "numpy",
        device: Any = None,
    ) -> None:
        self.shrinkage = shrinkage
        self.zeros = zeros
        self.fdr = fdr
        self.n_permutations = n_permutations
        self.cutoff = cutoff
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.backend = backend
        self.device = device

    def fit(self, X: Any, y: Any = None) -> "PartialCorrelation":
        """Estimate ρ from positive parts X (N, D); y is not used.

        Raises:
            ValueError: fewer than 3 samples or parts, a value that is not finite, negative parts, zeros where `zeros`
                is "error" (the message names the columns), or an option out of its range.
        """
        X = validated(self, X, ensure_min_samples=3, ensure_min_features=3)
        check_options(self)
        parts = replace_zeros(X, self.zeros, names=names_of(self))
        self._warn(
            ~X.any(0), "nothing but zeros in {}: what stands in for them would be correlated; leave such columns out"
        )
        shrinkage = chosen_shrinkage(self.shrinkage, *parts.shape)
        found = estimate(parts, shrinkage, self.backend, self.device)
        self.location_ = clr(parts).mean(0)
        self.shrinkage_, self.variance_shrinkage_ = found.shrinkage, found.variance_shrinkage
        self.degrees_of_freedom_ = found.freedom
        own = as_numpy(found.precision.diagonal()).clip(min=0)
        self._warn(own == 0, "nothing varies in the centred log-ratio of {}: its correlations are 0")
        self._warn(found.dependent, _TIED)
        self._keep(found, own)
        self.fdr_cutoff_ = self._permutation_cutoff(parts, shrinkage, found) if self.n_permutations else None
        return self

    def _keep(self, found: Estimate, own: np.ndarray) -> None:
        self.partial_variance_ = np.divide(1, own, out=np.full_like(own, np.nan), where=own > 0)
        self.partial_variance_[found.dependent] = 0.0
        self.__dict__.pop("covariance_", None)  # of an earlier fit
        if self.cutoff is None:
            self.partial_correlation_ = found.precision.correlation()
            self.partial_correlation_[found.dependent] = self.partial_correlation_[:, found.dependent] = np.nan
            np.fill_diagonal(self.partial_correlation_, 1.0)
            self.precision_, self.covariance_ = as_numpy(found.precision.dense()), found.covariance()
            self.p_values_ = None if found.freedom is None else p_values(self.partial_correlation_, found.freedom)
            return
        first, second, values = found.precision.pairs(self.cutoff)
        if found.dependent.any():
            kept = ~(found.dependent[first] | found.dependent[second])
            first, second, values = first[kept], second[kept], values[kept]
        if not len(values):
            warnings.warn(
                f"no pair reaches |ρ| ≥ {self.cutoff!r}, the strongest is {found.precision.strongest():.2g}: fit with "
                "a smaller cutoff (with far more parts than samples a shrunk ρ falls as one over their number)",
                stacklevel=3,
            )
        self.partial_correlation_ = symmetric(first, second, values, np.ones_like(own))
        self.precision_ = symmetric(first, second, -values * np.sqrt(own[first] * own[second]), own)
        self.p_values_ = None

    def _warn(self, which: np.ndarray, what: str) -> None:
        if which.any():
            warnings.warn(what.format(several(names_of(self)[which])), stacklevel=3)

    def _permutation_cutoff(self, parts: np.ndarray, shrinkage: Shrinkage, found: Estimate) -> float:
        draw = check_random_state(self.random_state)
        seeds = draw.randint(np.iinfo(np.int32).max, size=self.n_permutations)
        options = (shrinkage, self.backend, self.device, (found.shrinkage, found.variance_shrinkage))
        observed = np.abs(kept_pairs(self)[2])
        self._rates = false_discovery_rates(observed, parts, seeds, options, self.n_jobs)
        return smallest_cutoff(observed, self._rates, self.fdr)

    def get_precision(self) -> Any:
        """P, as `precision_`."""
        check_is_fitted(self)
        return self.precision_

    def score(self, X: Any, y: Any = None) -> float:
        """Mean Gaussian log-likelihood of the samples' isometric log-ratios, in nats; y is not used.

        Raises:
            ValueError: Γ has no inverse on the log-ratios (too few samples without shrinkage), or `cutoff` is set.
        """
        covariance = self._covariance("score")
        X = validated(self, X, reset=False)
        basis = orthonormal_basis(len(covariance))
        difference = (clr(replace_zeros(X, self.zeros, names=names_of(self))) - self.location_) @ basis.T
        spread = basis @ covariance @ basis.T
        if np.linalg.matrix_rank(spread, hermitian=True) < len(spread):
            raise ValueError('the covariance of the log-ratios has no inverse: fit with shrinkage="basis"')
        factor = linalg.cholesky(spread, lower=True)
        distances = (linalg.solve_triangular(factor, difference.T, lower=True) ** 2).sum(0)
        constant = len(spread) * np.log(2 * np.pi) + 2 * np.log(np.diag(factor)).sum()
        return float(-0.5 * (constant + distances.mean()))

    def multiple_correlation(self, reference: Any = None) -> Float[np.ndarray, " parts"]:
        """R² of each part given all others: 1 − v_i/Γ_ii, or 1 − v_i/var(log x_i/x_r) for a reference part.

        Unlike ρ it depends on the reference, an index or a column's name; NaN for the reference itself and where the
        log-ratio does not vary. To a reference part it is the usual R², from 0 to 1. The one of the centred log-ratio
        may fall below 0, to 1 − (D/(D − 1))²: part i itself is in the mean that it is divided by, which takes
        (1 − 1/D)² of the variance of an independent part and leaves v_i as it is. So read a small negative one as 0.
        (With a pseudo-inverse, where samples are fewer than parts, neither bound holds.)

        Raises:
            ValueError: no such part, or `cutoff` is set.
        """
        covariance = self._covariance("multiple_correlation")
        own = np.diag(covariance)
        if reference is None:
            spread = own
        else:
            place = place_of(reference, names_of(self))
            spread = own + own[place] - 2 * covariance[place]
            spread[place] = 0.0
        share = np.full_like(own, np.nan)
        np.divide(self.partial_variance_, spread, out=share, where=spread >= CONSTANT)
        return 1 - share

    def to_frame(self, figure: str = "partial_correlation") -> Any:
        """ρ as a pandas DataFrame with the parts as rows and columns; a sparse one with `cutoff`.

        Args:
            figure: "partial_correlation", or "precision", "covariance" or "p_value" (not adjusted) of the pairs.

        Raises:
            ValueError: there is no such figure, or this fit has none: the message says why.
            MissingExtraError: pandas is not installed.
        """
        check_is_fitted(self)
        matrix, names = self._figure(figure), names_of(self)
        frame = require("pandas").DataFrame
        if sparse.issparse(matrix):
            return frame.sparse.from_spmatrix(matrix, index=names, columns=names)
        return frame(matrix, index=names, columns=names)

    def _figure(self, figure: str) -> Any:
        if not isinstance(figure, str) or figure not in _FIGURES:
            raise ValueError(f"figure is {figure!r}: it must be one of {', '.join(map(repr, _FIGURES))}")
        if figure == "covariance":
            return self._covariance('to_frame("covariance")')
        found = getattr(self, _FIGURES[figure])
        if found is None:
            raise ValueError(f"there are no p-values of all pairs: {why_untested(self)}")
        return found

    def edges(self, cutoff: Any = None) -> Any:
        """The pairs of parts that belong together, as a pandas DataFrame, strongest first.

        Without `cutoff`: where permutations were made, |ρ| ≥ `fdr_cutoff_`, each with the least false discovery rate of
        a cutoff that lets it in; else, without shrinkage, those whose p adjusted after Benjamini and Hochberg is at
        most `fdr`. With `cutoff`: those of |ρ| ≥ cutoff, all of them for 0.

        All D(D − 1)/2 pairs count as tests, also those that a fit with `cutoff` did not keep. What these would have
        lowered an adjusted p by is unknown then: `p_adjusted` is the same or larger than it would be with all pairs,
        so that the false discovery rate holds and an edge may be missing, never one too many. A warning is given where
        that can be: where the weakest pair that was kept passes, and weaker ones might.

        Returns:
            Columns `part`, `other`, `partial_correlation` and `p_value`, `p_adjusted` or `fdr` where there are any.

        Raises:
            ValueError: there is no test (shrinkage without permutations) and no cutoff was given, it is no number in
                [0, 1], or it is below the one of the fit, under which no pairs were kept.
            MissingExtraError: pandas is not installed.
        """
        check_is_fitted(self)
        first, second, columns = edges_of(self, cutoff)
        names = names_of(self)
        return require("pandas").DataFrame({"part": names[first], "other": names[second], **columns})

    def heat_map(self, axes: Any = None, *, edges: bool | None = None) -> Any:
        """Draw ρ as a heat map, the parts in the order of a clustering; returns the matplotlib axes.

        The diagonal and what is NaN are gray; the limits of the colors are symmetrical. Names stand where they can be
        read (up to some 150 parts in axes of its own). With `cutoff` only parts that have a pair.

        Args:
            axes: where to draw; a figure that grows with the number of parts by default.
            edges: whether the pairs of `edges()` have a dot; by default where there is a test.

        Raises:
            ValueError: there are more than 2000 parts to draw, or fewer than two; or as `edges`, where dots are asked
                for.
        """
        check_is_fitted(self)
        tested = self.fdr_cutoff_ is not None or self.degrees_of_freedom_ is not None
        pairs = edges_of(self, None)[:2] if (tested if edges is None else edges) else None
        return plots.heat_map(self.partial_correlation_, names_of(self), pairs, self.fdr, axes)

    def graph(self, axes: Any = None, cutoff: Any = None) -> Any:
        """Draw `edges(cutoff)` between the parts on a circle; returns the matplotlib axes.

        Parts that are joined stand near each other. Of more than 60 parts only those that have an edge.

        Raises:
            ValueError: as `edges`.
        """
        check_is_fitted(self)
        first, second, columns = edges_of(self, cutoff)
        return plots.graph(first, second, columns["partial_correlation"], names_of(self), axes)

    def _covariance(self, method: str) -> np.ndarray:
        check_is_fitted(self)
        if sparse.issparse(self.partial_correlation_):
            raise ValueError(f"{method} needs the whole covariance, which cutoff= does not keep: fit with cutoff=None")
        covariance: np.ndarray = self.covariance_
        return covariance

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags
