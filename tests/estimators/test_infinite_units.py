"""The kernel of infinitely many polynomial units, and polynomials in monomials."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.preprocessing import PolynomialFeatures

from normkit.data import make_hierarchical_polynomial
from normkit.estimators._infinite_units import InfiniteUnits
from normkit.estimators._layerwise_algebra import algebra
from normkit.estimators._monomials import count, monomials, names, power_weights, unit_moments

NUMPY = algebra("numpy")
DEGREES = pytest.mark.parametrize(("d", "degree"), [(1, 4), (2, 1), (3, 3), (6, 2)])


def _rows(n: int, d: int) -> np.ndarray:
    return make_hierarchical_polynomial(n, d, random_state=d)[0]


@DEGREES
@pytest.mark.parametrize("by", ["numpy", "torch"])
def test_monomials_are_scikit_learns(d: int, degree: int, by: str) -> None:
    X, theirs, ours = _rows(5, d), PolynomialFeatures(degree), algebra(by)
    assert_allclose(ours.numpy(monomials(ours.array(X), degree, ours)), theirs.fit_transform(X))
    assert names([f"x{which}" for which in range(d)], degree) == list(theirs.get_feature_names_out())
    assert count(d, degree) == theirs.n_output_features_


@DEGREES
def test_a_unit_in_monomials(d: int, degree: int) -> None:
    X, V = _rows(5, d), _rows(7, d)
    units = (monomials(V, degree, NUMPY) * power_weights(d, degree)) @ monomials(X, degree, NUMPY).T
    assert_allclose(units.T, NUMPY.polynomial(X @ V.T, degree), rtol=1e-9, atol=1e-9)


@DEGREES
def test_the_kernel_is_the_moments_of_its_monomials(d: int, degree: int) -> None:
    X, Z = _rows(5, d), 2 * _rows(4, d)
    kernel = InfiniteUnits(Z, degree, False, NUMPY).kernel(X, Z)
    moments = unit_moments(d, degree)
    assert_allclose(monomials(X, degree, NUMPY) @ moments @ monomials(Z, degree, NUMPY).T, kernel, rtol=1e-9, atol=1e-9)
    assert np.linalg.eigvalsh(moments).min() > -1e-12


def test_the_kernel_is_the_mean_over_units() -> None:
    X = _rows(6, 3)
    V = np.random.default_rng(0).standard_normal((400_000, 3))
    phi = NUMPY.polynomial(X @ V.T / np.linalg.norm(V, axis=1), 3)
    kernel = InfiniteUnits(X, 3, False, NUMPY).kernel(X, X)
    assert_allclose(kernel, phi @ phi.T / len(V), atol=0.01 * kernel.max())


def test_the_kernel_does_not_see_a_rotation() -> None:
    X, Q = _rows(30, 5), np.linalg.qr(_rows(5, 5))[0]
    kernel = InfiniteUnits(X, 4, False, NUMPY)
    assert_allclose(kernel.kernel(X @ Q, X @ Q), kernel.kernel(X, X), rtol=1e-9, atol=1e-9)
