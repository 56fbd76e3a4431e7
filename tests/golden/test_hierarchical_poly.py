"""The layer-wise network against an independent reference: data, both stages by step and exactly, and the module."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from normkit.data import polynomial_feature
from normkit.data.hierarchical_polynomial import LINKS
from normkit.estimators._layerwise import Descent, Problem, Sample, by_samples, problem_of
from normkit.estimators._layerwise_algebra import Algebra, algebra
from normkit.estimators._random_units import RandomUnits
from normkit.nn import LayerwiseThreeLayer
from tests.golden.conftest import Golden

RTOL = 1e-8


@pytest.fixture(params=["numpy", "torch"])
def by(request: pytest.FixtureRequest) -> Algebra:
    return algebra(request.param)


def test_data(golden: Golden) -> None:
    """p and y = (p + he_2(p))/√2."""
    degree, lam, Q = int(golden["k"]), golden["lam"], golden["Q"][:, : golden["lam"].size]
    p = {name: polynomial_feature(golden[f"X{name}"], Q, lam, degree) for name in ("1", "2", "t")}
    _close(p["1"], golden["p1"])
    linear, square = LINKS["quadratic"][1:]
    for name, feature in p.items():
        _close(linear * feature + square * (feature**2 - 1) / np.sqrt(2), golden[f"y{name}"])


def test_first_stage(golden: Golden, by: Algebra) -> None:
    """u by gradient descent and exactly, from the features' side and from the samples'."""
    problem, width = _first(golden, by), int(golden["m2"])
    _descends(golden, by, problem, "u", float(golden["eta1"]), float(golden["xi1"]))
    _close(by.numpy(problem.minimum(float(golden["xi1"]), by)), golden["u_exact"])
    units, X = _units(golden, by), by.array(golden["X1"])
    weight = by.array(np.full(len(X), 1 / len(X)))
    kernel = units.hidden(X) @ units.hidden(X).T
    sample = Sample(X, by.array(golden["y1"]), weight, len(X) - 1)
    beta, _ = by_samples(kernel, sample, float(golden["xi1"]), by, None)
    _close(by.numpy(units.hidden(X).T @ beta), golden["u_exact"])
    assert width == len(golden["u_exact"]) == len(golden["s"])
    assert not golden["s"].any()  # the method's own: the first stage has no offsets


def test_first_stage_step_by_step_from_the_samples(golden: Golden, by: Algebra) -> None:
    units, X = _units(golden, by), by.array(golden["X1"])
    weight = by.array(np.full(len(X), 1 / len(X)))
    sample = Sample(X, by.array(golden["y1"]), weight, len(X) - 1)
    kernel = units.hidden(X) @ units.hidden(X).T
    for steps, wanted in zip(golden["u_step_index"], golden["u_steps"], strict=True):
        descent = Descent(int(steps), float(golden["eta1"]))
        beta, _ = by_samples(kernel, sample, float(golden["xi1"]), by, descent)
        _close(by.numpy(units.hidden(X).T @ beta), wanted)


def test_first_stage_as_the_regressor_computes_it(golden: Golden, by: Algebra) -> None:
    """By whichever of units, monomials and samples are fewest."""
    units, X = _units(golden, by), by.array(golden["X1"])
    weight = by.array(np.full(len(X), 1 / len(X)))
    sample, decay = Sample(X, by.array(golden["y1"]), weight, len(X) - 1), float(golden["xi1"])
    _close(by.numpy(units.fit(sample, decay, None).coefficients), golden["u_exact"])
    for steps, wanted in zip(golden["u_step_index"], golden["u_steps"], strict=True):
        _close(by.numpy(units.fit(sample, decay, Descent(int(steps), float(golden["eta1"]))).coefficients), wanted)
    exact = by.array(golden["u_exact"])
    _close(by.numpy(units.value(by.array(golden["Xt"]), exact)), golden["stage1_t"])


def test_second_stage(golden: Golden, by: Algebra) -> None:
    """c by gradient descent and exactly, on the standardised feature of the exact first stage."""
    units = _units(golden, by)
    u = by.array(golden["u_exact"])
    first, second = (by.numpy(units.value(by.array(golden[name]), u)) for name in ("X1", "X2"))
    mean, std = float(golden["feat_mean"]), float(golden["feat_std"])
    assert_allclose([first.mean(), first.std()], [mean, std], rtol=RTOL)
    z = (second - mean) / std
    psi = np.maximum(z[:, None] * golden["a"] + golden["b"], 0) / np.sqrt(int(golden["m1"]))
    residual = golden["y2"] - second
    problem = Problem(by.array(psi.T @ psi / len(z)), by.array(psi.T @ residual / len(z)))
    _descends(golden, by, problem, "c", float(golden["eta2"]), float(golden["xi2"]))
    _close(by.numpy(problem.minimum(float(golden["xi2"]), by)), golden["c_exact"])


def test_module(golden: Golden) -> None:
    """ĝ and h of the torch module with the reference's parameters."""
    sizes = [int(golden[name]) for name in ("d", "k", "m2", "m1")]
    net = LayerwiseThreeLayer(*sizes, dtype=torch.float64)
    names = {"u": "u_exact", "c": "c_exact"} | {name: name for name in ("V", "s", "a", "b", "feat_mean", "feat_std")}
    with torch.no_grad():
        for name, key in names.items():
            getattr(net, name).copy_(golden.tensor(key))
        x = golden.tensor("Xt")
        _close((net.feature(x) * net.feat_std + net.feat_mean).numpy(), golden["stage1_t"])
        _close(net(x).numpy(), golden["pred_t"])
        net.set_feature_statistics(golden.tensor("X1"))
    assert_allclose([net.feat_mean, net.feat_std], [golden["feat_mean"], golden["feat_std"]], rtol=RTOL)


def _units(golden: Golden, by: Algebra) -> RandomUnits:
    return RandomUnits(by.array(golden["V"]), int(golden["k"]), False, by)


def _first(golden: Golden, by: Algebra) -> Problem:
    units, X = _units(golden, by), by.array(golden["X1"])
    weight = by.array(np.full(len(X), 1 / len(X)))
    return problem_of(units.hidden, X, by.array(golden["y1"]), weight, int(golden["m2"]), by)


def _descends(golden: Golden, by: Algebra, problem: Problem, name: str, eta: float, decay: float) -> None:
    for steps, wanted in zip(golden[f"{name}_step_index"], golden[f"{name}_steps"], strict=True):
        _close(by.numpy(problem.minimum(decay, by, Descent(int(steps), eta))), wanted)


def _close(ours: Any, wanted: Any) -> None:
    """Within RTOL of the array's largest entry: entries near 0 are differences of large ones."""
    assert_allclose(ours, wanted, rtol=RTOL, atol=RTOL * np.abs(wanted).max())
