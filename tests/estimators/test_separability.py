"""Margin and separability against closed forms, another solver and random directions."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.svm import SVC

from normkit.estimators import NormalizedLogisticRegression, iteration_bound, logistic_step, margin, separability_report


def _rows(seed: int, n: int = 30, d: int = 4) -> np.ndarray:
    draw = np.random.default_rng(seed)
    X, theta = draw.standard_normal((n, d)), draw.standard_normal(d)
    return X * np.sign(X @ theta)[:, None]


def test_a_pair_whose_margin_is_known() -> None:
    # θ = (1, 0) is 1 from both (1, 1) and (1, −1).
    assert margin(np.array([[1.0, 1.0], [1.0, -1.0]])) == pytest.approx(1.0, rel=1e-12)
    for small in (1e-3, 1e-6):
        assert margin(np.array([[1.0, small], [-1.0, small]])) == pytest.approx(small, rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_the_support_vector_machine_finds_the_same(seed: int) -> None:
    Z = _rows(seed)
    # Both z and −z, so that the machine's hyperplane goes through 0.
    machine = SVC(kernel="linear", C=1e12, tol=1e-10).fit(np.vstack([Z, -Z]), np.repeat([1, -1], len(Z)))
    assert margin(Z) == pytest.approx(1 / np.linalg.norm(machine.coef_), rel=1e-5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(1e-3, 1e3))
def test_it_scales_with_the_samples_and_no_direction_beats_it(seed: int, scale: float) -> None:
    Z = _rows(seed)
    mu = margin(Z)
    assert margin(scale * Z) == pytest.approx(scale * mu, rel=1e-6)
    directions = np.random.default_rng(seed).standard_normal((4, 200))
    assert (Z @ (directions / np.linalg.norm(directions, axis=0))).min(0).max() <= mu * (1 + 1e-9)


def test_samples_that_contradict_have_none() -> None:
    Z = _rows(0)
    assert margin(np.vstack([Z, -Z[:1]])) == 0
    assert margin(np.vstack([Z, 0 * Z[:1]])) == 0  # 0 is on no side
    assert margin(np.zeros((2, 3))) == 0


def test_an_intercept_is_a_column_of_ones() -> None:
    A, y = np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([0, 1])
    assert not separability_report(A, y, fit_intercept=False).separable
    whole = separability_report(A, y)
    assert whole.separable
    assert whole == separability_report(np.column_stack([A, np.ones(2)]), y, fit_intercept=False)


def _two_classes(apart: float) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    A, normal = draw.standard_normal((40, 3)), np.array([1.0, 2.0, -1.0])
    y = (A @ normal > 0.1).astype(int)
    return A + apart * np.outer(2 * y - 1, normal), y


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e6, 1e12, np.array([1e-9, 1.0, 1e9])], ids=str)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_units_do_not_decide_what_is_separable(fit_intercept: bool, scale: float | np.ndarray) -> None:
    A, y = _two_classes(0.3)
    assert separability_report(scale * A, y, fit_intercept=fit_intercept).separable
    y[np.argmin(A @ [1.0, 2.0, -1.0])] = 1
    assert not separability_report(scale * A, y, fit_intercept=fit_intercept).separable


@pytest.mark.parametrize("origin", [1e3, 1e9])
def test_an_intercept_makes_the_origin_no_matter(origin: float) -> None:
    A, y = _two_classes(0.3)
    assert separability_report(A + origin, y).separable
    y[np.argmin(A @ [1.0, 2.0, -1.0])] = 1
    assert not separability_report(A + origin, y).separable


def test_the_margin_is_told_in_the_length_of_the_largest_sample() -> None:
    A, y = _two_classes(0.3)
    plain, scaled = (separability_report(factor * A, y, fit_intercept=False) for factor in (1.0, 1e-7))
    assert 0 < plain.relative_margin == pytest.approx(scaled.relative_margin, rel=1e-6)
    assert plain.relative_margin == plain.margin / np.linalg.norm(A, axis=1).max()
    assert scaled.bounds["perceptron"] == pytest.approx(plain.bounds["perceptron"], rel=1e-6)
    assert f"{plain.relative_margin:.3g} of the radius" in str(plain)


def test_a_margin_that_rounding_hides_is_said() -> None:
    A, y = _two_classes(0.3)
    hidden = separability_report(A + 1e12, y)
    assert hidden.separable
    assert (hidden.margin, hidden.bounds, hidden.recommended) == (0, {}, "normalized")
    assert "no bound on the steps; standardize the features" in str(hidden)


@pytest.mark.parametrize("method", ["normalized", "perceptron", "normalized_batch_perceptron", "batch_perceptron"])
@pytest.mark.parametrize("seed", range(3))
def test_steps_stay_below_the_bound_of_each_method(method: str, seed: int) -> None:
    Z = _rows(seed)
    y = np.where(np.arange(len(Z)) % 2, 1.0, -1.0)
    found = NormalizedLogisticRegression(1.0, method, fit_intercept=False, max_iter=100_000).fit(Z * y[:, None], y)
    bound = iteration_bound(float(np.linalg.norm(Z, axis=1).max()), margin(Z), len(Z), 1.0, method)
    assert 1 <= found.n_iter_ <= bound


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_named(bad: float) -> None:
    Z = _rows(0)
    Z[3, 1] = bad
    for call in (lambda: margin(Z), lambda: separability_report(Z, np.arange(30) % 2)):
        with pytest.raises(ValueError, match="NaN or infinity in 1 of 30 rows"):
            call()


def test_nothing_is_no_sample() -> None:
    with pytest.raises(ValueError, match="no sample"):
        margin(np.ones((0, 3)))
    step = getattr(logistic_step, "__wrapped__", logistic_step)  # annotations are checked in tests alone
    for Z, theta in ((np.ones((0, 3)), np.ones(3)), (np.ones((2, 3)), np.ones(2))):
        with pytest.raises(ValueError, match=r"Z \(n, d\) of one sample at least and theta \(d,\) are wanted"):
            step(Z, theta, 1.0)


def test_lists_and_frames_are_tables_too() -> None:
    A, y = _two_classes(0.3)
    report = getattr(separability_report, "__wrapped__", separability_report)  # annotations are checked in tests alone
    assert report(A.tolist(), y.tolist()) == report(pd.DataFrame(A), pd.Series(y)) == separability_report(A, y)
    with pytest.raises(ValueError, match="step_size is 'x': it must be a positive and finite number"):
        report(A, y, step_size="x")


def test_a_narrow_margin_comes_with_what_may_widen_it() -> None:
    X, y = np.array([[0.0, 1e6], [1.0, 1e6], [0.0, 0.0], [1.0, 0.0]]), np.array([0, 1, 0, 1])
    assert "standardized features may have a far larger one" in str(separability_report(X, y))
    assert "standardized" not in str(separability_report(X / [1.0, 1e6], y))
