import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from normkit.estimators import InfiniteNetClassifier, log_singular_kernel, ntk, taxonomy
from normkit.nn import optimal_activation, standardize_activation


def _sphere(n: int, features: int = 3, seed: int = 0) -> np.ndarray:
    X = np.abs(np.random.default_rng(seed).normal(size=(n, features)))
    return X / np.linalg.norm(X, axis=1, keepdims=True)


@pytest.mark.parametrize("d", [1, 1.5, 2, 3, 5, 10])
def test_optimal_activation_has_alpha_d(d: float) -> None:
    found = taxonomy(optimal_activation(d))
    assert found.limit == "singular kernel"
    assert found.alpha == pytest.approx(d, abs=1e-12)


def test_taxonomy() -> None:
    assert taxonomy("relu").limit == "majority vote"
    assert taxonomy(standardize_activation(torch.nn.ReLU())).limit == "singular kernel"
    assert taxonomy(lambda x: x * x - 1).limit == "1-nearest neighbor"
    assert taxonomy(np.tanh).alpha == pytest.approx(taxonomy(torch.nn.Tanh()).alpha, rel=1e-9)
    with pytest.raises(ValueError, match="jumps"):
        taxonomy(torch.sign)


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_risk_is_that_of_the_hilbert_estimate(backend: str) -> None:
    X, Xt = _sphere(2000, 2), _sphere(500, 2, 1)
    y = (np.random.default_rng(2).random(2000) < np.where(np.sin(6 * np.arccos(X[:, 0])) > 0, 0.8, 0.2)).astype(int)
    ours = InfiniteNetClassifier(preprocess=False, backend=backend).fit(X, y).predict(Xt)
    hilbert = KNeighborsClassifier(2000, weights=lambda d: 1 / d, algorithm="brute").fit(X, y).predict(Xt)
    assert (ours != hilbert).mean() < 0.01


@pytest.mark.parametrize(("activation", "depth"), [(optimal_activation(2), 20), ([0, 0, 1], 10)])
def test_a_deep_network_is_its_limit(activation: object, depth: int) -> None:
    X, y = _sphere(12), np.resize([0, 1], 12)
    deep = InfiniteNetClassifier(activation, depth, "nngp", preprocess=False).fit(X, y)
    limit = InfiniteNetClassifier(activation, preprocess=False).fit(X, y)
    assert (deep.predict(_sphere(100, seed=3)) == limit.predict(_sphere(100, seed=3))).mean() >= 0.98


def test_a_training_point_keeps_its_label_and_equal_points_average() -> None:
    X = np.eye(3)[[0, 0, 0, 1]]
    model = InfiniteNetClassifier(preprocess=False).fit(X, [0, 1, 1, 0])
    np.testing.assert_allclose(model.predict_proba(np.eye(3)), [[1 / 3, 2 / 3], [1, 0], [0.5, 0.5]])


def test_what_is_refused() -> None:
    X, y = _sphere(6), [0, 1, 0, 1, 0, 1]
    for depth in (0, 2.5, -1):
        with pytest.raises(ValueError, match="depth"):
            InfiniteNetClassifier(depth=depth).fit(X, y)
    with pytest.raises(ValueError, match="Negative"):
        InfiniteNetClassifier(preprocess=False).fit(-X, y)
    with pytest.raises(ValueError, match="norm 0"):
        InfiniteNetClassifier(preprocess=False).fit(0 * X, y)
    with pytest.raises(ValueError, match="at least 1"):
        InfiniteNetClassifier(intrinsic_dim=0.5).fit(X, y)
    with pytest.raises(ValueError, match="at least 1"):
        optimal_activation(0.5)
    with pytest.raises(ValueError, match="norm 1"):
        ntk(2 * X, None, "relu", 2)
    with pytest.raises(ValueError, match="no singular kernel"):
        log_singular_kernel(np.array([0.5]), [0.0, 0.0, 1.0])
