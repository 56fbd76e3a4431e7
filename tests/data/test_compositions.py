"""Compositions drawn at random: closed, as stated, and the same again from the same seed."""

import numpy as np

from normkit import data


def test_a_network_is_as_stated() -> None:
    X, precision = data.network_compositions(2000, seed=3)
    np.testing.assert_allclose(X.sum(1), 1)
    assert (X > 0).all()
    covariance = np.linalg.inv(precision)
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), 0.8)
    joined = precision[np.triu_indices(40, 1)] != 0
    assert 0.03 < joined.mean() < 0.1
    ratio = np.log(X[:, 0] / X[:, 1]).var()
    assert abs(ratio / (covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]) - 1) < 0.15
    again, _ = data.network_compositions(2000, seed=3)
    np.testing.assert_array_equal(again, X)
    assert not np.allclose(data.network_compositions(2000, seed=4)[0], X)


def test_a_dominating_part_is_as_stated() -> None:
    X = data.dominated_compositions(4000, seed=1)
    np.testing.assert_allclose(X.sum(1), 1)
    logs = np.log(X)
    assert abs((logs[:, 1] - logs[:, 2]).std() - 0.4 * 2**0.5) < 0.03
    assert abs((logs[:, 0] - logs[:, 1]).mean() - 4) < 0.15
    assert abs((logs[:, 0] - logs[:, 1]).std() - (4 + 0.16) ** 0.5) < 0.1
