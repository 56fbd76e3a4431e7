"""Closure and log-ratios: their definitions, there and back, isometry, and what they refuse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from normkit.estimators import (
    alr,
    alr_inv,
    closure,
    clr,
    clr_inv,
    ilr,
    ilr_inv,
    orthonormal_basis,
    replace_zeros,
)

X = np.array([[1.0, 2.0, 7.0], [4.0, 4.0, 2.0], [0.1, 0.3, 0.6]])
tables = arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(2, 6)), elements=st.floats(1e-6, 1e6))


@given(tables)
def test_there_and_back_is_the_closure(table: np.ndarray) -> None:
    wanted = closure(table)
    np.testing.assert_allclose(wanted.sum(-1), 1, rtol=1e-14)
    for back in (clr_inv(clr(table)), ilr_inv(ilr(table)), alr_inv(alr(table, -1), -1), alr_inv(alr(table, 1), 1)):
        np.testing.assert_allclose(back, wanted, rtol=1e-12)


@given(tables, st.floats(1e-6, 1e6))
def test_the_total_of_a_row_means_nothing(table: np.ndarray, total: float) -> None:
    for transform in (closure, clr, alr, ilr):
        np.testing.assert_allclose(transform(table * total), transform(table), rtol=1e-9, atol=1e-12)


def test_the_definitions() -> None:
    np.testing.assert_allclose(clr(X)[0], np.log([1, 2, 7]) - np.log([1, 2, 7]).mean())
    np.testing.assert_allclose(alr(X, 1)[0], np.log([1 / 2, 7 / 2]))
    np.testing.assert_allclose(ilr(X)[0], [np.log(1 / 2) / 2**0.5, np.log(2**0.5 / 7) * (2 / 3) ** 0.5])
    np.testing.assert_allclose(clr(X[0]), clr(X)[0])
    np.testing.assert_array_equal(closure([[1, 1, 2]]), [[0.25, 0.25, 0.5]])


def test_isometric_log_ratios_keep_distances() -> None:
    wanted = np.linalg.norm(clr(X)[0] - clr(X)[1])
    assert np.linalg.norm(ilr(X)[0] - ilr(X)[1]) == pytest.approx(wanted)
    other = np.array([[0.0, 1.0, -1.0], [2.0, -1.0, -1.0]]) / np.sqrt([[2.0], [6.0]])
    assert np.linalg.norm(ilr(X, other)[0] - ilr(X, other)[1]) == pytest.approx(wanted)
    np.testing.assert_allclose(ilr_inv(ilr(X, other), other), closure(X))


@pytest.mark.parametrize("parts", [2, 3, 10])
def test_the_basis_is_orthonormal_and_centred(parts: int) -> None:
    basis = orthonormal_basis(parts)
    np.testing.assert_allclose(basis @ basis.T, np.eye(parts - 1), atol=1e-14)
    np.testing.assert_allclose(basis.sum(1), 0, atol=1e-14)


def test_extremes_do_not_overflow() -> None:
    assert np.isfinite(clr([[1e-300, 1e300, 1.0]])).all()
    assert np.isfinite(clr_inv([[-800.0, 900.0, 0.0]])).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: clr([[1.0, 0.0]]), "a part is zero.*replace_zeros"),
        (lambda: clr([[1.0, -1.0]]), "a part is negative"),
        (lambda: clr([[1.0, np.nan]]), "not finite"),
        (lambda: closure([[1.0, -1.0]]), "negative: compositions"),
        (lambda: closure([[1.0, 1.0], [0.0, 0.0]]), "only zeros"),
        (lambda: alr(X, 3), "reference is 3: there are 3 parts, 0 to 2"),
        (lambda: alr_inv(X, -5), "there are 4 parts"),
        (lambda: alr(X, True), "reference is True: there are 3 parts"),
        (lambda: alr(X, 1.5), "reference is 1.5"),
        (lambda: alr(X, "Si"), "reference is 'Si'"),
        (lambda: ilr(X, "x"), r"basis holds no numbers: an array \(2, 3\)"),
        (lambda: orthonormal_basis(1), "parts is 1: a whole number of at least 2"),
        (lambda: orthonormal_basis(2.5), "parts is 2.5"),
        (lambda: ilr(X, np.eye(3)), r"basis has shape \(3, 3\): \(2, 3\) is wanted"),
        (lambda: ilr(X, np.ones((2, 3))), "orthonormal"),
        (lambda: closure(np.float64(3)), "parts on the last axis"),
    ],
)
def test_what_is_refused(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call()


ZEROS = np.array([[0.0, 2.0, 8.0], [5.0, 5.0, 0.5], [0.0, 0.0, 4.0]])


def test_zeros_by_each_rule() -> None:
    np.testing.assert_array_equal(replace_zeros(ZEROS, "min"), np.where(ZEROS == 0, 0.5, ZEROS))
    np.testing.assert_array_equal(replace_zeros(ZEROS, 0.25), ZEROS + 0.25)
    delta = 1 / 9
    replaced = replace_zeros(ZEROS, "multiplicative")
    np.testing.assert_allclose(replaced.sum(1), 1)
    np.testing.assert_allclose(replaced[0], [delta, 0.2 * (1 - delta), 0.8 * (1 - delta)])
    np.testing.assert_allclose(replaced[2], [delta, delta, 1 - 2 * delta])
    np.testing.assert_array_equal(replace_zeros(X), X)


@pytest.mark.parametrize(
    ("table", "rule", "message"),
    [
        (ZEROS, "error", "zeros in Si, Al, and a zero has no logarithm: pass zeros="),
        (-ZEROS, "min", "Negative values in data, Si, Al, K: parts are wanted .* not log-ratios"),
        (ZEROS, "fill", "zeros is 'fill'"),
        (ZEROS, -1.0, "zeros is -1.0"),
        (ZEROS, True, "zeros is True"),
        (ZEROS * 0, "min", "only zeros"),
        (ZEROS + np.inf, "min", "not finite"),
    ],
)
def test_refused_zeros(table: np.ndarray, rule: str | float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace_zeros(table, rule, names=["Si", "Al", "K"])
    many = np.ones((2, 9)) * [[1], [0]]
    with pytest.raises(ValueError, match=r"column 4 and 4 more.* \(50 % of the table are zeros\)"):
        replace_zeros(many)
    with pytest.raises(ValueError, match=r"only zeros in 1 of 2 rows \(row 1, counted from 0\)"):
        replace_zeros(many, "multiplicative")
    with pytest.raises(ValueError, match=r"a table \(N, D\) is wanted"):
        replace_zeros(ZEROS[0], "min")
