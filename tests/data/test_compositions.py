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


def test_pairs_are_as_stated() -> None:
    X = data.paired_compositions(4000, 7, factors=2, seed=1)
    np.testing.assert_allclose(X.sum(1), 1)
    alone = data.paired_compositions(20_000, 7, factors=0, seed=1)
    logs = np.log(alone)
    ratios = logs - logs[:, [6]]  # the last part has no partner: cov(e_i − e_6, e_j − e_6) = cov(e_i, e_j) + 1
    covariance = np.cov(ratios[:, :6], rowvar=False) - 1
    wanted = np.kron(np.eye(3), [[1.0, 0.8], [0.8, 1.0]])
    np.testing.assert_allclose(covariance, wanted, atol=0.05)
    np.testing.assert_array_equal(X, data.paired_compositions(4000, 7, factors=2, seed=1))
    assert not np.allclose(X, data.paired_compositions(4000, 7, factors=2, seed=2))
