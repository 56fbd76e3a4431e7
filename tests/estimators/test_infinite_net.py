import numpy as np
import pandas as pd
import pytest
import torch
from scipy.linalg import LinAlgWarning
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
    X, Xt = _sphere(2000, 2), _sphere(2000, 2, 1)
    chance, truth = (np.where(np.sin(6 * np.arccos(x[:, 0])) > 0, 0.8, 0.2) for x in (X, Xt))
    y = (np.random.default_rng(2).random(2000) < chance).astype(int)
    ours = InfiniteNetClassifier(preprocess=False, backend=backend)
    hilbert = KNeighborsClassifier(2000, weights=lambda d: d**-1.0, algorithm="brute")
    said = [model.fit(X, y).predict(Xt) for model in (ours, hilbert)]
    risks = [np.where(answers == 1, 1 - truth, truth).mean() for answers in said]
    assert risks[0] == pytest.approx(risks[1], abs=0.001)
    assert (said[0] != said[1]).mean() < 0.01


def _apart(n: int, least: float, seed: int, x: np.ndarray | None = None) -> np.ndarray:
    """Points with δ ≥ least to x, or to each other where there is none."""
    kept: list[np.ndarray] = []
    for point in _sphere(100 * n, seed=seed):
        others = np.array(kept) if x is None else x
        if len(kept) < n and (not len(others) or np.square(others - point).sum(1).min() / 2 >= least):
            kept.append(point)
    assert len(kept) == n
    return np.array(kept)


@pytest.mark.parametrize(
    ("activation", "kernel", "depth", "limit"),
    [
        (optimal_activation(2), "nngp", 20, "singular kernel"),
        ([0.0, 0.0, 1.0], "ntk", 10, "1-nearest neighbor"),
        (np.sqrt([0.2, 0.3, 0.5]), "ntk", 100, "majority vote"),
        (torch.nn.ReLU(), "ntk", 1000, "majority vote"),
        ("relu", "ntk", 1000, "majority vote"),
    ],
)
def test_a_deep_network_is_its_limit(activation: object, kernel: str, depth: int, limit: str) -> None:
    X, y = _apart(12, 0.03, seed=0), np.append(np.resize([1, 0], 10), [1, 1])
    queries = _apart(150, 0.005, seed=3, x=X)
    deep = InfiniteNetClassifier(activation, depth, kernel, preprocess=False).fit(X, y)
    endless = InfiniteNetClassifier(activation, preprocess=False).fit(X, y)
    assert endless.taxonomy_.limit == limit
    assert (deep.predict(queries) == endless.predict(queries)).mean() >= 0.99


def test_a_shallow_network_solves_its_kernel() -> None:
    X, Xt, y = _sphere(30), _sphere(40, seed=1), np.resize([0, 1, 2], 30)
    model = InfiniteNetClassifier("relu", 3, preprocess=False).fit(X, y)
    assert model.jitter_ == 0
    wanted = ntk(Xt, X, "relu", 3) @ np.linalg.solve(ntk(X, None, "relu", 3), np.eye(3)[y])
    np.testing.assert_allclose(model.decision_function(Xt), wanted, rtol=1e-8, atol=1e-8)
    assert not hasattr(model, "predict_proba")


def test_crowded_points_get_a_jitter_that_is_reported() -> None:
    angles = np.linspace(0.3, 0.3001, 60)
    X, y = np.stack([np.cos(angles), np.sin(angles)], 1), np.repeat([0, 1], 30)
    with pytest.warns(LinAlgWarning, match="crowded points"):
        model = InfiniteNetClassifier([0.0, 0.8, 0.6], 1, "nngp", preprocess=False).fit(X, y)
    assert 1e-13 <= model.jitter_ < 1e-9
    assert np.isfinite(model.decision_function(X)).all()


def test_a_constant_feature_is_added_where_a_row_would_be_zero() -> None:
    y = np.resize([0, 1], 12)
    apart = np.vstack([np.eye(3), _sphere(9)])
    plain = InfiniteNetClassifier().fit(apart, y)
    assert not plain.adds_constant_
    assert plain.dimension_ == 2
    np.testing.assert_allclose(np.unique(apart, axis=0), plain.X_)
    with_zero = np.vstack([np.zeros(3), apart])
    added = InfiniteNetClassifier().fit(with_zero, [0, *y])
    assert added.adds_constant_
    assert added.dimension_ == added.X_.shape[1] - 1 == 3
    np.testing.assert_allclose(np.linalg.norm(added.X_, axis=1), 1)


@pytest.mark.parametrize("activation", ["optimal", "relu", [0.0, 0.0, 1.0]])
def test_a_query_below_every_point_gets_the_shares(activation: object) -> None:
    X, y = np.eye(3), ["a", "a", "b"]
    model = InfiniteNetClassifier(activation).fit(X, y)
    np.testing.assert_allclose(model.predict_proba([[-1.0, -2.0, 0.0]]), [[2 / 3, 1 / 3]])


def test_a_table_keeps_its_names() -> None:
    X = pd.DataFrame(_sphere(12), columns=["red", "green", "blue"])
    y = pd.Series(np.resize(["cat", "dog"], 12))
    model = InfiniteNetClassifier().fit(X, y)
    assert list(model.feature_names_in_) == ["red", "green", "blue"]
    assert (model.predict(X) == y).all()
    with pytest.raises(ValueError, match="feature names"):
        model.predict(X.rename(columns={"red": "crimson"}))


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
