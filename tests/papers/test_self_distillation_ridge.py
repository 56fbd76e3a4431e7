import numpy as np
import pytest

from normkit.papers import _self_distillation_ridge


@pytest.mark.parametrize("alpha", [0.05, 0.5])
def test_slow_rounds_are_judged_as_well(alpha: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where 200 rounds are not enough to arrive, what the rate allows is taken off, and a wrong limit still shows."""
    draw = np.random.default_rng(0)
    X = draw.normal(size=(40, 3))
    y = np.sin(X.sum(axis=1))
    assert abs(_self_distillation_ridge._limit_gaps(X, y, alpha)["rounds"]) < 1e-3
    assert _self_distillation_ridge._limit_gaps(X, y, alpha)["rounds"] <= 1e-8

    class Elsewhere(_self_distillation_ridge.SelfDistilledKernelRidge):
        def limit_predict(self, X: np.ndarray) -> np.ndarray:
            return super().limit_predict(X) + 0.1

    monkeypatch.setattr(_self_distillation_ridge, "SelfDistilledKernelRidge", Elsewhere)
    assert _self_distillation_ridge._limit_gaps(X, y, alpha)["rounds"] > 1e-2
