from typing import Any

import numpy as np
import pytest

from normkit.data import make_hierarchical_polynomial, polynomial_feature
from normkit.data.hierarchical_polynomial import LINKS


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("eigenvalues", ["alternating", [3.0, 1.0], "equal"])
def test_the_feature_is_standardised(k: int, eigenvalues: Any) -> None:
    X, y, p = make_hierarchical_polynomial(40_000, 6, k, "linear", eigenvalues, random_state=0)
    assert X.shape == (40_000, 6)
    assert abs(p.mean()) < 0.03
    assert p.var() == pytest.approx(1, abs=0.1)
    assert np.array_equal(y, p)


def test_the_feature_by_hand() -> None:
    """Along the axes, p = Σ ±(x_i² − 1)/√(2 L)."""
    X, _, p = make_hierarchical_polynomial(50, 3, rotate=False, random_state=1)
    assert np.allclose(p, (X**2 - 1) @ [1, -1, 1] / np.sqrt(6))


def test_a_rotation_keeps_the_spectrum() -> None:
    """p is a quadratic form whose matrix has the eigenvalues ±1/√(2 L)."""
    X, _, p = make_hierarchical_polynomial(200, 4, random_state=2)
    pairs = np.stack([X[:, i] * X[:, j] for i in range(4) for j in range(4)], axis=1)
    form = np.linalg.lstsq(pairs, p, rcond=None)[0].reshape(4, 4)  # alternating: the trace is 0, so no constant
    assert np.allclose(np.linalg.eigvalsh(form), np.array([-1, -1, 1, 1]) / np.sqrt(8))
    assert np.abs(form - np.diag(np.diag(form))).max() > 0.01


@pytest.mark.parametrize("link", LINKS)
def test_a_link_has_variance_1_under_a_normal_feature(link: str) -> None:
    _, y, p = make_hierarchical_polynomial(60_000, 1, 1, link, rotate=False, random_state=0)
    assert y.var() == pytest.approx(1, abs=0.06)
    assert np.mean(p * y) == pytest.approx(LINKS[link][1], abs=0.05)  # E g′(z) = E z g(z)


def test_a_link_of_ones_own_and_noise() -> None:
    clean = make_hierarchical_polynomial(2000, 4, link=np.tanh, random_state=3)
    noisy = make_hierarchical_polynomial(2000, 4, link=np.tanh, noise=0.5, random_state=3)
    assert np.array_equal(clean[1], np.tanh(clean[2]))
    assert np.array_equal(clean[0], noisy[0])
    assert np.std(noisy[1] - clean[1]) == pytest.approx(0.5, rel=0.1)


def test_it_follows_from_the_seed() -> None:
    first, second, other = (make_hierarchical_polynomial(9, 4, random_state=seed) for seed in (5, 5, 6))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n = 0, d = 4, k = 2: each must be at least 1"),
        ({"k": 0}, "k = 0"),
        ({"noise": -1.0}, "noise is -1.0"),
        ({"link": "cosine"}, "'cosine': give a function of p, or one of linear, quadratic, cubic, even"),
        ({"link": lambda p: p[:2]}, r"link gave the shape \(2,\) for p of shape \(9,\)"),
        ({"eigenvalues": "random"}, "'random': give 'alternating', 'equal' or up to 4 numbers"),
        ({"eigenvalues": [1.0] * 5}, "from 1 to 4 finite numbers"),
        ({"eigenvalues": [0.0, 0.0]}, "not all 0"),
    ],
)
def test_what_cannot_be_made_is_said(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_hierarchical_polynomial(**{"n": 9, "d": 4} | arguments)


def test_a_feature_has_a_degree() -> None:
    with pytest.raises(ValueError, match="degree is 0"):
        polynomial_feature(np.ones((2, 2)), np.eye(2), np.ones(2), 0)
