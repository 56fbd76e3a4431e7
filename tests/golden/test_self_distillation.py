"""Self-distilled kernel ridge regression against an independent reference, with both of its solvers."""

from typing import Any

import numpy as np
import pytest

from normkit.estimators import SelfDistilledKernelRidge, optimal_alpha
from tests.golden.conftest import Golden

SOLVERS = ("eigen", "cholesky")


@pytest.mark.parametrize("solver", SOLVERS)
def test_toy(golden: Golden, solver: str) -> None:
    if "toy_X" not in golden:
        pytest.skip("the file holds no toy")
    rounds = golden["toy_pred"].shape[1]
    truth = np.sin(2 * np.pi * golden["toy_x"][:, 0])
    for case, alpha in enumerate(golden["toy_alphas"]):
        options = {"gamma": float(golden["toy_gamma"]), "lam": float(golden["toy_lambda"]), "alpha": float(alpha)}
        model = _fitted(golden["toy_X"], golden["toy_Y"], n_rounds=rounds, solver=solver, **options)
        limit = _fitted(golden["toy_X"], golden["toy_Y"], n_rounds="inf", solver=solver, **options)
        staged = np.stack([each[:, 0] for each in model.staged_predict(golden["toy_x"])])
        last = limit.predict(golden["toy_x"])[:, 0]
        _close(staged, golden["toy_pred"][case])
        _close(last, golden["toy_limit"][case])
        _close(np.square(np.vstack([staged, last]) - truth).mean(axis=1), golden["toy_loss"][case])


@pytest.mark.parametrize("solver", SOLVERS)
def test_alpha_by_round(golden: Golden, solver: str) -> None:
    alphas = [float(each) for each in golden["alphas"]]
    model = _fitted(golden["X"], golden["Y"], alpha=alphas, n_rounds=len(alphas), solver=solver, **_kernel(golden))
    _close(np.stack(list(model.staged_predict(golden["Xv"]))), golden["pred_v"])
    _close(np.stack(list(model.staged_predict(golden["X"]))), golden["fit_train"])


@pytest.mark.parametrize("solver", SOLVERS)
def test_one_alpha(golden: Golden, solver: str) -> None:
    alpha, rounds = float(golden["const_alpha"]), len(golden["const_pred_v"])
    model = _fitted(golden["X"], golden["Y"], alpha=alpha, n_rounds=rounds, solver=solver, **_kernel(golden))
    _close(np.stack(list(model.staged_predict(golden["Xv"]))), golden["const_pred_v"])
    _close(np.stack(list(model.staged_predict(golden["X"]))), golden["const_fit_train"])
    limit = _fitted(golden["X"], golden["Y"], alpha=alpha, n_rounds="inf", solver=solver, **_kernel(golden))
    _close(limit.predict(golden["Xv"]), golden["const_limit_v"])
    if solver == "eigen":
        _close(model.limit_predict(golden["Xv"]), golden["const_limit_v"])
        _close(model.eigenvalues_, golden["const_eigvals"])
        _close(model.shrinkage_, golden["const_Bdiag"])
        _close(limit.shrinkage_[0], golden["const_Bdiag_limit"])


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("clip", [False, True])
def test_best_alpha(golden: Golden, clip: bool, solver: str) -> None:
    case = "opt_clip" if clip else "opt_free"
    wanted = golden[f"{case}_alpha"]
    model = SelfDistilledKernelRidge(n_rounds=len(wanted), clip=clip, solver=solver, **_kernel(golden))
    model.fit(golden["X"], golden["Y"], X_val=golden["Xv"], y_val=golden["Yv"])
    _close(model.alphas_, wanted)
    _close(model.val_losses_, golden[f"{case}_val_mse"])
    staged = list(model.staged_predict(golden["Xv"]))
    _close(np.stack(staged), golden[f"{case}_pred_v"])
    if len(wanted) > 1:  # and the formula by itself: round 2 learns from round 1 alone where alpha is 0
        zero = _fitted(golden["X"], golden["Y"], alpha=0.0, n_rounds=2, solver=solver, **_kernel(golden))
        _close(optimal_alpha(staged[0], zero.predict(golden["Xv"]), golden["Yv"], clip), wanted[1])


def _kernel(golden: Golden) -> dict[str, float]:
    return {"gamma": float(golden["gamma"]), "lam": float(golden["lam"])}


def _fitted(X: Any, y: Any, **options: Any) -> SelfDistilledKernelRidge:
    return SelfDistilledKernelRidge(**options).fit(X, y)


def _close(ours: Any, wanted: Any) -> None:
    np.testing.assert_allclose(ours, wanted, rtol=1e-9, atol=1e-12)
