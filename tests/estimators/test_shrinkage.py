"""The shrunk covariance: its formula written out pair by pair, its limits, and columns that are constant."""

import re

import numpy as np
import pytest

from normkit.estimators import basis_shrinkage_covariance, clr, logratio_variance, proportionality, shrink_covariance


def by_pairs(table: np.ndarray) -> tuple[np.ndarray, float, float]:
    """The estimator as its equations read: one product series w_s = x_si x_sj for every pair."""
    samples, columns = table.shape
    b = table - table.mean(0)
    v = b.var(0, ddof=1)
    moments = [(column**2) for column in b.T]
    variance_of_v = sum(m.var() for m in moments) / (samples - 1)
    target = np.median(v)
    lam_v = np.clip(variance_of_v / sum((m.mean() - target * (samples - 1) / samples) ** 2 for m in moments), 0, 1)
    x = b / np.sqrt(v)
    top = bottom = 0.0
    for i in range(columns):
        for j in range(columns):
            if i != j:
                series = x[:, i] * x[:, j]
                top += series.var() / (samples - 1)
                bottom += series.mean() ** 2
    lam = float(np.clip(top / bottom, 0, 1))
    correlation = (1 - lam) * np.corrcoef(table, rowvar=False)
    np.fill_diagonal(correlation, 1)
    deviation = np.sqrt(lam_v * target + (1 - lam_v) * v)
    return correlation * np.outer(deviation, deviation), lam, float(lam_v)


@pytest.mark.parametrize("shape", [(40, 6), (8, 15), (5, 5)])
def test_it_is_its_equations(shape: tuple[int, int]) -> None:
    draw = np.random.default_rng(1)
    table = draw.normal(size=shape) @ draw.normal(size=(shape[1], shape[1])) * draw.uniform(0.1, 5, shape[1])
    covariance, shrinkage, variance_shrinkage = by_pairs(table)
    ours = shrink_covariance(table)
    np.testing.assert_allclose(ours.covariance, covariance, rtol=1e-10)
    assert ours.shrinkage == pytest.approx(shrinkage, rel=1e-10)
    assert ours.variance_shrinkage == pytest.approx(variance_shrinkage, rel=1e-10)


def test_many_samples_are_hardly_shrunk_and_noise_wholly() -> None:
    draw = np.random.default_rng(0)
    mixed = draw.normal(size=(5000, 4)) @ draw.normal(size=(4, 4))
    assert shrink_covariance(mixed).shrinkage < 0.02
    assert shrink_covariance(draw.normal(size=(20, 200))).shrinkage > 0.9


def test_a_constant_column_has_no_correlation() -> None:
    table = np.random.default_rng(0).normal(size=(10, 4))
    table[:, 2] = 3.0
    covariance = shrink_covariance(table).covariance
    assert np.isfinite(covariance).all()
    np.testing.assert_array_equal(covariance[2, [0, 1, 3]], 0)


def test_the_basis_is_that_of_log_proportions() -> None:
    X = np.random.default_rng(0).lognormal(size=(12, 5))
    wanted = shrink_covariance(np.log(X / X.sum(1, keepdims=True)))
    np.testing.assert_allclose(basis_shrinkage_covariance(X * 7).covariance, wanted.covariance, rtol=1e-10)
    with pytest.raises(ValueError, match=r"Negative values in data.*log-ratios"):
        basis_shrinkage_covariance(clr(X))


@pytest.mark.parametrize("table", [np.ones(3), np.ones((1, 3)), np.ones((2, 2, 2))])
def test_what_is_no_table_is_refused(table: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"at least 2 samples in rows, \(N, D\), are wanted"):
        shrink_covariance(table)
    with pytest.raises(ValueError, match="at least 2 samples"):
        logratio_variance(table)


def test_infinities_are_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        shrink_covariance([[1.0, 2.0], [np.inf, 1.0]])


def test_proportional_parts() -> None:
    X = np.random.default_rng(0).lognormal(size=(20, 4))
    X[:, 1] = 3 * X[:, 0]
    assert logratio_variance(X)[0, 1] == pytest.approx(0, abs=1e-14)
    np.testing.assert_allclose(logratio_variance(X)[2, 3], np.log(X[:, 2] / X[:, 3]).var(ddof=1))
    assert proportionality(X)[0, 1] == pytest.approx(1)
    for measure in ("phi", "phi_s"):
        found = proportionality(X, measure)
        assert found[0, 1] == pytest.approx(0, abs=1e-12)
        assert found[2, 3] > 0
    z = clr(X)
    wanted = np.log(X[:, 2] / X[:, 3]).var(ddof=1)
    assert proportionality(X, "phi")[2, 3] == pytest.approx(wanted / z[:, 2].var(ddof=1))
    assert proportionality(X, "phi_s")[2, 3] == pytest.approx(wanted / (z[:, 2] + z[:, 3]).var(ddof=1))
    for measure in ("rho", None, 1, ["phi"], np.ones(2)):
        with pytest.raises(ValueError, match=re.escape(f"measure is {measure!r}")):
            proportionality(X, measure)
