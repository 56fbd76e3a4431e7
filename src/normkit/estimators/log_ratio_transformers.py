"""Log-ratio coordinates as scikit-learn transformers: CLR, ALR and ILR, there and back to the simplex."""

from abc import abstractmethod
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import Tags, check_array
from sklearn.utils.validation import check_is_fitted

from normkit.estimators._parts import names_of, place_of, validated
from normkit.estimators.compositions import alr, alr_inv, checked_basis, clr, clr_inv, ilr, ilr_inv
from normkit.estimators.zeros import replace_zeros

__all__ = ["ALRTransformer", "CLRTransformer", "ILRTransformer"]


class _LogRatioTransformer(TransformerMixin, BaseEstimator):
    """What the three share: positive parts in, after the rule for zeros; coordinates out, and back."""

    zeros: Any

    def fit(self, X: Any, y: Any = None) -> "_LogRatioTransformer":
        """Check positive parts X (N, D), D ≥ 2, and learn what replaces a zero by the rule "min"; y is not used.

        Raises:
            ValueError: negative parts, zeros where `zeros` is "error" (the message names the columns), or a parameter
                that does not fit the columns.
        """
        X = validated(self, X, ensure_min_features=2)
        parts = replace_zeros(X, self.zeros, names=names_of(self))
        self._learn(parts.shape[1])
        if self.zeros == "min":
            self.smallest_ = parts.min()
        return self

    def transform(self, X: Any) -> Any:
        """The coordinates of positive parts X (N, D), in nats."""
        check_is_fitted(self)
        X = validated(self, X, reset=False)
        if self.zeros == "min":
            X = np.where(X == 0, self.smallest_, X)
        return self._forward(replace_zeros(X, self.zeros, names=names_of(self)))

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Proportions (N, D), each row of sum 1, with the coordinates X.

        Raises:
            ValueError: another number of coordinates than `transform` gives.
        """
        check_is_fitted(self)
        coordinates = check_array(X, dtype=np.float64)
        if coordinates.shape[1] != self._n_features_out:
            raise ValueError(f"{coordinates.shape[1]} coordinates came: {self._n_features_out} are wanted")
        return self._backward(coordinates)

    @property
    def _n_features_out(self) -> int:
        return int(self.n_features_in_) - 1

    def _learn(self, parts: int) -> None:
        """Settle what depends on the number of parts."""

    @abstractmethod
    def _forward(self, parts: np.ndarray) -> np.ndarray: ...

    @abstractmethod
    def _backward(self, coordinates: np.ndarray) -> np.ndarray: ...

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags


class CLRTransformer(OneToOneFeatureMixin, _LogRatioTransformer):
    """Centred log-ratio log x_i − mean_k log x_k: one coordinate a part, of sum 0, free of the row's total.

    Args:
        zeros: "error", "min", "multiplicative" or a pseudocount; see `replace_zeros`.

    Attributes:
        smallest_: what a zero is replaced by with `zeros="min"`: the smallest positive entry of the training table.
        n_features_in_, feature_names_in_: as everywhere in scikit-learn.

    Shape: (N, D) to (N, D). Source: Aitchison 1986, The Statistical Analysis of Compositional Data, section 4.6.
    """

    def __init__(self, *, zeros: Any = "error") -> None:
        self.zeros = zeros

    @property
    def _n_features_out(self) -> int:
        return int(self.n_features_in_)

    def _forward(self, parts: np.ndarray) -> np.ndarray:
        return clr(parts)

    def _backward(self, coordinates: np.ndarray) -> np.ndarray:
        return clr_inv(coordinates)


class ALRTransformer(_LogRatioTransformer):
    """Additive log-ratio log(x_i/x_r) of every part to a reference part r.

    Args:
        reference: r, an index or the name of a column.
        zeros: as for `CLRTransformer`.

    Attributes:
        reference_: index of the reference part.
        smallest_, n_features_in_, feature_names_in_: as for `CLRTransformer`.

    Raises:
        ValueError: at `fit`, there is no such reference part.

    Shape: (N, D) to (N, D − 1). Source: Aitchison 1986, The Statistical Analysis of Compositional Data, section 4.6.
    """

    def __init__(self, reference: Any = 0, *, zeros: Any = "error") -> None:
        self.reference = reference
        self.zeros = zeros

    def _learn(self, parts: int) -> None:
        self.reference_ = place_of(self.reference, names_of(self))

    def _forward(self, parts: np.ndarray) -> np.ndarray:
        return alr(parts, self.reference_)

    def _backward(self, coordinates: np.ndarray) -> np.ndarray:
        return alr_inv(coordinates, self.reference_)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """`log(part/reference)` for every part but the reference.

        Raises:
            ValueError: `input_features` are not the columns of the training table.
        """
        check_is_fitted(self)
        names = _checked(input_features, self)
        denominator = names[self.reference_]
        return np.array([f"log({name}/{denominator})" for name in np.delete(names, self.reference_)], dtype=object)


class ILRTransformer(ClassNamePrefixFeaturesOutMixin, _LogRatioTransformer):
    """Isometric log-ratio clr(x) Ψᵀ: D − 1 orthonormal coordinates, in which distances are those of compositions.

    Args:
        basis: Ψ (D − 1, D), rows orthonormal and of sum 0; `orthonormal_basis(D)` by default.
        zeros: as for `CLRTransformer`.

    Attributes:
        basis_: Ψ.
        smallest_, n_features_in_, feature_names_in_: as for `CLRTransformer`.

    Raises:
        ValueError: at `fit`, the basis is none of D parts.

    Shape: (N, D) to (N, D − 1). Source: Egozcue et al. 2003, Mathematical Geology 35.
    """

    def __init__(self, basis: Any = None, *, zeros: Any = "error") -> None:
        self.basis = basis
        self.zeros = zeros

    def _learn(self, parts: int) -> None:
        self.basis_ = checked_basis(self.basis, parts)

    def _forward(self, parts: np.ndarray) -> np.ndarray:
        return ilr(parts, self.basis_)

    def _backward(self, coordinates: np.ndarray) -> np.ndarray:
        return ilr_inv(coordinates, self.basis_)


def _checked(input_features: Any, estimator: Any) -> np.ndarray:
    names = names_of(estimator)
    if input_features is None:
        return names
    given = np.asarray(input_features, dtype=object)
    if len(given) != len(names):
        raise ValueError(
            f"input_features should have length equal to number of features ({len(names)}), got {len(given)}"
        )
    if hasattr(estimator, "feature_names_in_") and not np.array_equal(given, names):
        raise ValueError("input_features is not equal to feature_names_in_")
    return given
