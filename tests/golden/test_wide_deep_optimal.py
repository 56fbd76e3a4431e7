"""The optimal activations, their kernels and their classifier against an independent reference."""

import numpy as np
import torch
from numpy.testing import assert_allclose

from normkit.estimators import InfiniteNetClassifier, hermite_coefficients, log_singular_kernel, ntk, taxonomy
from normkit.nn import HermiteActivation, optimal_activation
from tests.golden.conftest import Golden


def _dimensions(golden: Golden) -> list[str]:
    return golden.cases(r"(d\d+)_hermite")


def test_activations(golden: Golden) -> None:
    for d in _dimensions(golden):
        wanted, activation = golden[f"{d}_hermite"], optimal_activation(int(d[1:]))
        assert_allclose(activation.coefficients, wanted, rtol=1e-9, atol=1e-14)
        given = HermiteActivation(wanted)
        for each in (activation, given):
            assert_allclose(each(torch.tensor(golden[f"{d}_z"])), golden[f"{d}_phi"], rtol=1e-9, atol=1e-12)
        assert_allclose(hermite_coefficients(lambda z, f=given: f(z), len(wanted) - 1), wanted, rtol=1e-9, atol=1e-12)
        assert_allclose(taxonomy(activation).alpha, golden[f"{d}_alpha"], rtol=1e-9)


def test_kernels(golden: Golden) -> None:
    for d in _dimensions(golden):
        X, Xt, a = golden[f"{d}_X"], golden[f"{d}_Xt"], golden[f"{d}_hermite"]
        for i, depth in enumerate(golden[f"{d}_depths"]):
            k, s = ntk(Xt, X, a, depth, get="both")
            assert_allclose(k, golden[f"{d}_ntk"][i], rtol=1e-9)
            assert_allclose(s, golden[f"{d}_nngp"][i], rtol=1e-9)
            assert_allclose(ntk(X, None, a, depth), golden[f"{d}_ntk_train"][i], rtol=1e-9)


def test_relu(golden: Golden) -> None:
    xi = golden["relu_xi"]
    circle = np.stack([xi, np.sqrt(1 - xi**2)], 1)
    for i, depth in enumerate(golden["relu_depths"]):
        k, s = ntk(np.array([[1.0, 0.0]]), circle, "relu", depth, get="both")
        assert_allclose(k[0], golden["relu_ntk"][i], rtol=1e-9)
        assert_allclose(s[0], golden["relu_nngp"][i], rtol=1e-9)


def test_singular_kernel(golden: Golden) -> None:
    for d in _dimensions(golden):
        a = golden[f"{d}_hermite"]
        for name in ("", "_grid"):
            delta = golden[f"{d}_delta{name}"]
            assert_allclose(log_singular_kernel(delta, a), golden[f"{d}_log_psi{name}"], rtol=1e-9, atol=1e-10)


def test_classifier(golden: Golden) -> None:
    for d in _dimensions(golden):
        X, Xt, y, a = (golden[f"{d}_{name}"] for name in ("X", "Xt", "y", "hermite"))
        for backend in ("numpy", "torch"):
            singular = InfiniteNetClassifier(a, preprocess=False, backend=backend).fit(X, y)
            assert_allclose(singular.predict(Xt), golden[f"{d}_pred_singular"])
            assert_allclose(singular.decision_function(Xt), golden[f"{d}_score_norm"], rtol=1e-6, atol=1e-7)
        nearest = InfiniteNetClassifier([0, 0, 1], preprocess=False).fit(X, y)
        assert_allclose(nearest.predict(Xt), golden[f"{d}_pred_1nn"])
