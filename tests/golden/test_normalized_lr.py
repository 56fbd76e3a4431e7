"""Iterates, losses and counts of the five methods, against a reference written from the equations."""

from itertools import islice

import numpy as np
import pytest

from normkit.data import worst_case_dataset
from normkit.estimators import NormalizedLogisticRegression, iterates, logistic_step, margin
from tests.golden.conftest import Golden

METHODS = {"lr": "plain", "nlr": "normalized"}
PERCEPTRONS = {"bp": "batch_perceptron", "nbp": "normalized_batch_perceptron"}
WORST = (
    [("normalized", 100.0), ("normalized", 10.0), ("normalized", 1.0), ("normalized", 0.1)],
    [("plain", 100.0), ("plain", 10.0), ("batch_perceptron", 1.0), ("normalized_batch_perceptron", 1.0)],
)


def _rows(golden: Golden) -> np.ndarray:
    return golden["y"][:, None] * golden["A"]


def _steps(A: np.ndarray, y: np.ndarray, method: str, step_size: float = 1.0) -> int:
    found = NormalizedLogisticRegression(step_size, method, fit_intercept=False, max_iter=100_000).fit(A, y)
    assert found.converged_
    return found.n_iter_


def test_radius_and_margin(golden: Golden) -> None:
    np.testing.assert_allclose(np.linalg.norm(golden["A"], axis=1).max(), golden["R"], rtol=1e-12)
    np.testing.assert_allclose(margin(_rows(golden)), golden["mu"], rtol=1e-6)


@pytest.mark.parametrize("key", list(METHODS))
def test_iterates(golden: Golden, key: str) -> None:
    Z = _rows(golden)
    for row, gamma in enumerate(golden["gammas"]):
        wanted = golden[f"{key}_theta"][row]
        found = np.array(list(islice(iterates(Z, method=METHODS[key], step_size=float(gamma)), len(wanted))))
        # The normalised orbit amplifies rounding some 10⁵ times with large steps.
        bound = 1e-10 if key == "lr" else 1e-9
        assert np.abs(found - wanted).max() <= bound * np.abs(wanted).max()
        loss = np.logaddexp(0, -found @ Z.T).mean(1)
        tolerance = {"rtol": 1e-9} if key == "lr" else {"rtol": 1e-6, "atol": 1e-300}
        np.testing.assert_allclose(loss, golden[f"{key}_loss"][row], **tolerance)
        step = logistic_step(Z, wanted[1], float(gamma), normalized=key == "nlr")
        assert np.abs(step - wanted[2]).max() <= 1e-9 * np.abs(wanted).max()


@pytest.mark.parametrize("key", list(METHODS))
def test_counts(golden: Golden, key: str) -> None:
    for gamma, wanted in zip(golden["gammas"], golden[f"{key}_n_iter"], strict=True):
        assert _steps(golden["A"], golden["y"], METHODS[key], float(gamma)) == wanted


@pytest.mark.parametrize("key", list(PERCEPTRONS))
def test_perceptrons(golden: Golden, key: str) -> None:
    wanted = golden[f"{key}_theta"]
    found = np.array(list(islice(iterates(_rows(golden), method=PERCEPTRONS[key]), len(wanted))))
    assert np.abs(found - wanted).max() <= 1e-10 * np.abs(wanted).max()
    assert np.abs(found[-1] - golden[f"{key}_final"]).max() <= 1e-10 * np.abs(wanted).max()
    assert _steps(golden["A"], golden["y"], PERCEPTRONS[key]) == int(golden[f"{key}_n_iter"])


def test_the_worst_case(golden: Golden) -> None:
    A, y = worst_case_dataset(int(golden["worst_n"]))
    found = [[_steps(A, y, *each) for each in row] for row in WORST]
    np.testing.assert_array_equal(found, golden["worst_n_iter"])


def test_a_huge_step_stays_finite(golden: Golden) -> None:
    wanted = golden["nlr_theta_1e6_after50"]
    found = next(islice(iterates(_rows(golden), step_size=1e6), 50, None))
    assert np.isfinite(found).all()
    assert np.abs(found - wanted).max() <= 1e-6 * np.abs(wanted).max()
