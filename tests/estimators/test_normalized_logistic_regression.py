"""Normalised logistic descent: ends, weights, sparse and frames, records, and what is refused."""

import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from normkit.data import worst_case_dataset
from normkit.estimators import NormalizedLogisticRegression, iterates, iteration_bound, margin, separability_report

METHODS = ("normalized", "plain", "perceptron", "batch_perceptron", "normalized_batch_perceptron")


def separable(seed: int, n: int = 30, d: int = 4) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    A, theta = draw.normal(size=(n, d)), draw.normal(size=d)
    return A, np.sign(A @ theta)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_ends_where_all_is_right(method: str) -> None:
    A, y = separable(0)
    found = NormalizedLogisticRegression(method=method).fit(A, y)
    assert found.converged_
    assert (found.predict(A) == y).all()
    assert found.score(A, y) == 1


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), step_size=st.sampled_from([0.1, 1.0, 10.0, 100.0]))
def test_the_bound_holds(seed: int, step_size: float) -> None:
    A, y = separable(seed)
    mu = margin(y[:, None] * A)
    found = NormalizedLogisticRegression(step_size, fit_intercept=False, max_iter=100_000).fit(A, y)
    assert found.n_iter_ <= iteration_bound(np.linalg.norm(A, axis=1).max(), mu, len(A), step_size)


def test_large_steps_are_the_perceptrons() -> None:
    A, y = separable(3)
    Z = y[:, None] * A
    for method, limit in (("plain", "batch_perceptron"), ("normalized", "normalized_batch_perceptron")):
        steps, bound = iterates(Z, method=method, step_size=1e8), iterates(Z, method=limit)
        for _ in range(12):
            theta, wanted = next(steps), next(bound)
            np.testing.assert_allclose(theta / 1e8, wanted, atol=1e-9)
            if (Z @ wanted > 0).all():
                break


def test_samples_that_are_right_do_not_slow_it() -> None:
    counts = []
    for n in (20, 2000):
        A, y = worst_case_dataset(n)
        methods = ("normalized", "plain")
        counts.append([NormalizedLogisticRegression(100.0, m, fit_intercept=False).fit(A, y).n_iter_ for m in methods])
    assert counts[0][0] == counts[1][0] == 2
    assert counts[1][1] > 50 * counts[0][1] / 2


@pytest.mark.parametrize("method", METHODS)
def test_a_weight_counts_a_sample_so_often(method: str) -> None:
    A, y = separable(5)
    count = np.random.default_rng(0).integers(0, 4, len(A))
    options = {"method": method, "max_iter": 7, "keep_best": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        weighted = NormalizedLogisticRegression(**options).fit(A, y, count)
        repeated = NormalizedLogisticRegression(**options).fit(A.repeat(count, 0), y.repeat(count))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(weighted.intercept_, repeated.intercept_, rtol=1e-9, atol=1e-12)


def test_sparse_samples_frames_and_torch_give_the_same() -> None:
    A, y = separable(6)
    A[np.abs(A) < 0.3] = 0
    y = np.sign(A @ np.arange(1, 5))
    dense = NormalizedLogisticRegression().fit(A, y)
    others = [
        NormalizedLogisticRegression().fit(sparse.csr_array(A), y),
        NormalizedLogisticRegression().fit(pd.DataFrame(A, columns=list("abcd")), y),
        NormalizedLogisticRegression(device="cpu").fit(A, y),
    ]
    for found in others:
        np.testing.assert_allclose(found.coef_, dense.coef_, rtol=1e-9)
        assert found.n_iter_ == dense.n_iter_
    assert list(others[1].feature_names_in_) == list("abcd")
    assert dense.predict(sparse.csr_array(A)).tolist() == y.tolist()


def test_ten_classes_side_by_side() -> None:
    X, y = load_digits(return_X_y=True)
    X = X / 16
    found = NormalizedLogisticRegression(max_iter=3000).fit(X[:600], y[:600])
    assert found.coef_.shape == (10, 64)
    assert found.converged_
    assert found.score(X[600:], y[600:]) > 0.85
    alone = NormalizedLogisticRegression(max_iter=3000).fit(X[:600], y[:600] == 7)
    np.testing.assert_allclose(alone.coef_[0], found.coef_[7], rtol=1e-6)
    np.testing.assert_allclose(found.predict_proba(X).sum(1), 1)


def test_without_an_end_the_best_is_kept_and_the_reason_said() -> None:
    A = np.array([[0.0], [1.0], [0.4], [0.6], [0.5], [0.5]])
    y = np.array([0, 1, 0, 1, 0, 1])
    with pytest.warns(ConvergenceWarning, match="1 of 6 samples are still wrong .* not separable"):
        found = NormalizedLogisticRegression(max_iter=200).fit(A, y)
    assert not found.converged_
    assert found.n_iter_ == 200
    assert found.score(A, y) == 5 / 6
    with pytest.warns(ConvergenceWarning, match="separable, margin"):
        NormalizedLogisticRegression(0.01, "plain", max_iter=1).fit(A[:4] + 3, y[:4])


@pytest.mark.parametrize("device", [None, "cpu"])
def test_a_sample_of_tiny_weight_is_right_where_it_has_converged(device: str | None) -> None:
    """1e-20 does not change the sum of the other weights."""
    A, y = np.array([[1.0, 0.0], [-1.0, 0.0], [-0.5, 1.0], [2.0, 0.3]]), np.array([1, 0, 1, 1])
    found = NormalizedLogisticRegression(device=device).fit(A, y, [1, 1, 1e-20, 1])
    assert found.converged_
    assert (found.predict(A) == y).all()
    # two classes of three are told from the others; the third, between them on a line, is not
    three, labels = np.vstack([A, [[0.0, 0.0]]]), np.array([1, 0, 1, 1, 2])
    with pytest.warns(ConvergenceWarning, match="1 of 5 samples are still wrong"):
        found = NormalizedLogisticRegression(device=device, max_iter=300).fit(three, labels, [1, 1, 1e-20, 1, 1])
    right = (found.decision_function(three) > 0) == (labels[:, None] == found.classes_)
    assert right[:, :2].all()


def test_the_record() -> None:
    A, y = separable(7)
    found = NormalizedLogisticRegression(0.1, record=True).fit(A, y)
    history = found.history_
    assert set(history) == {"accuracy", "loss", "gradient_norm", "wrong"}
    assert all(values.shape == (found.n_iter_ + 1, 1) for values in history.values())
    np.testing.assert_allclose(history["loss"][0], np.log(2))
    assert history["accuracy"][-1] == 1
    assert history["wrong"][-1] == 0


def test_extreme_margins_stay_finite() -> None:
    A = np.array([[1e100], [-1e100], [1e-100]])
    found = NormalizedLogisticRegression(fit_intercept=False).fit(A, [1, 0, 1])
    assert np.isfinite(found.coef_).all()


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_float32_samples_are_never_copied(device: str | None, kind: type) -> None:
    """A step's two products are in the type of the samples; what is right is judged by the same products."""
    if device and kind is sparse.csr_array:
        pytest.skip("sparse samples are computed by numpy")
    A, y = separable(9, n=4000, d=300)
    narrow = kind(A.astype(np.float32))
    found = NormalizedLogisticRegression(1.0, max_iter=3, device=device)
    tracemalloc.start()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found.fit(narrow, y)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4 * A.size
    assert found.coef_.dtype == np.float64
    ended = NormalizedLogisticRegression(device=device).fit(narrow[:100], y[:100])
    assert (ended.predict(narrow[:100]) == y[:100]).all()


def test_the_warning_counts_what_the_kept_parameters_have_wrong() -> None:
    """Of several problems each keeps its own best; the one with the most wrong is named."""
    X, y = load_digits(n_class=3, return_X_y=True)
    y = np.where(np.arange(len(y)) % 11 == 0, 2, y)
    for steps in (1, 5, 20):
        with pytest.warns(ConvergenceWarning) as said:
            found = NormalizedLogisticRegression(1.0, max_iter=steps).fit(X / 16, y)
        wrong = ((found.decision_function(X / 16) > 0) != (y[:, None] == found.classes_)).sum(0).max()
        assert str(said[0].message).startswith(f"{wrong} of {len(y)} samples are still wrong")


def test_parameters_that_overflow_are_no_result() -> None:
    A, y = separable(0)
    for device in (None, "cpu"):
        with pytest.raises(ValueError, match=r"overflowed in step 1 with step_size=1e\+200: take a smaller one"):
            NormalizedLogisticRegression(1e200, device=device).fit(1e200 * A, y)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step_size": 0.0}, "step_size is 0.0: it must be a positive and finite number"),
        ({"step_size": np.inf}, "step_size is inf: it must be a positive and finite number"),
        ({"method": "newton"}, "method is 'newton': it must be one of 'normalized', 'plain', "),
        ({"step_size": "large"}, "step_size is 'large': it must be a positive and finite number"),
        ({"max_iter": 0}, "max_iter is 0: it must be a whole number of at least 1"),
        ({"max_iter": None}, "max_iter is None: it must be a whole number of at least 1"),
    ],
)
def test_parameters_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NormalizedLogisticRegression(**options).fit(*separable(0))


def test_bad_data_are_refused() -> None:
    A, y = separable(0)
    with pytest.raises(ValueError, match="one class"):
        NormalizedLogisticRegression().fit(A, np.ones(len(A)))
    with pytest.raises(ValueError, match="NaN"):
        NormalizedLogisticRegression().fit(A * np.nan, y)
    with pytest.raises(ValueError, match="leave device None"):
        NormalizedLogisticRegression(device="cpu").fit(sparse.csr_array(A), y)
    with pytest.raises(ValueError, match="n must be 2 or more"):
        worst_case_dataset(1)


def test_the_report() -> None:
    A, y = separable(8)
    report = separability_report(A, y, fit_intercept=False)
    assert report.separable
    strict = LogisticRegression(C=1e9, fit_intercept=False, max_iter=10_000).fit(A, y).coef_[0]
    assert report.margin >= (y * (A @ strict)).min() / np.linalg.norm(strict) - 1e-9
    assert set(report.bounds) == {"normalized", "perceptron", "batch_perceptron"}
    assert report.bounds["batch_perceptron"] == pytest.approx(30 * report.bounds["perceptron"])
    assert "separable, margin" in str(report)
    mixed = separability_report(np.vstack([A, A]), np.append(y, -y))
    assert not mixed.separable
    assert mixed.recommended is None
    assert "not separable" in str(mixed)
    few = separability_report(*worst_case_dataset(50), fit_intercept=False)
    assert few.recommended == "normalized"
    with pytest.raises(ValueError, match="two classes and a label"):
        separability_report(A, np.arange(len(A)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, 0.0, 5), "mu is 0.0: it must be a positive and finite number"),
        ((1.0, 1.0, 5, 10.0, "plain"), "no bound is known"),
        ((1.0, 1.0, 5, 10.0, "newton"), "methods are"),
        ((1.0, 1.0, 5, -1.0), "step_size is -1.0: it must be a positive and finite number"),
    ],
)
def test_bounds_that_there_are_none_of(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        iteration_bound(*arguments)  # type: ignore[arg-type]


def test_steps_and_methods_that_there_are_none_of() -> None:
    with pytest.raises(ValueError, match="method must be one of"):
        next(iterates(np.ones((2, 2)), method="newton"))
    with pytest.raises(ValueError, match="step_size is nan: it must be a positive and finite number"):
        next(iterates(np.ones((2, 2)), step_size=torch.nan))


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize("method", ["normalized", "plain", "batch_perceptron"])
def test_a_search_goes_on_where_another_ended(method: str, device: str | None) -> None:
    X, y = separable(0)
    options = {"step_size": 0.1 if method == "normalized" else 100.0, "method": method, "device": device}
    whole = NormalizedLogisticRegression(**options).fit(X, y)
    assert whole.n_iter_ > 6
    with pytest.warns(ConvergenceWarning, match="still wrong after max_iter=5 steps"):
        first = NormalizedLogisticRegression(max_iter=5, keep_best=False, **options).fit(X, y)
    kept = {"coef_init": first.coef_, "intercept_init": first.intercept_}
    rest = NormalizedLogisticRegression(**options).fit(X, y, **kept)
    assert rest.n_iter_ == whole.n_iter_ - 5
    np.testing.assert_allclose(rest.coef_, whole.coef_, rtol=1e-9)
    np.testing.assert_allclose(rest.intercept_, whole.intercept_, rtol=1e-9)


def test_where_a_search_starts_has_the_shape_of_where_it_ends() -> None:
    X, y = separable(0)
    model = NormalizedLogisticRegression(fit_intercept=False)
    assert model.fit(X, y, coef_init=np.ones(X.shape[1])).n_iter_ > 0
    with pytest.raises(ValueError, match=r"coef_init has the shape \(2,\): it must have \(1, "):
        model.fit(X, y, coef_init=np.ones(2))
    with pytest.raises(ValueError, match="coef_init contains NaN"):
        model.fit(X, y, coef_init=np.full(X.shape[1], np.nan))
    with pytest.raises(ValueError, match="leave one of them out"):
        model.fit(X, y, intercept_init=[1.0])


def test_the_loss_rises_on_the_way() -> None:
    """The paper's example: (1, −1) in class +1, (−1, −4) in the other; a large step raises the loss first."""
    X, y = np.array([[1.0, -1.0], [-1.0, -4.0]]), np.array([1, 0])
    for step, rises in ((0.01, 0), (100.0, 1)):
        model = NormalizedLogisticRegression(step, "plain", fit_intercept=False, record=True).fit(X, y)
        loss = model.history_["loss"][:, 0]
        assert model.converged_
        assert model.loss_increases_.tolist() == [rises]
        assert model.largest_loss_.tolist() == [loss[:-1].max()]
    assert model.largest_loss_[0] > 10
    three = NormalizedLogisticRegression(record=True).fit(*load_digits(n_class=3, return_X_y=True))
    assert three.largest_loss_.shape == three.loss_increases_.shape == (3,)
