"""Audits of private releases: what one row moves, and what an attacker who knows both tables can tell apart."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone

from normkit.estimators import PrivateDistance, PrivateKernelDensity, PrivateSimilarityClassifier
from normkit.estimators.private.audit import epsilon_lower_bound, log_likelihood_ratio
from normkit.estimators.private.noise import add_noise

__all__ = ["AUDITED", "audit_fits", "audit_releases", "largest_move"]


@dataclass(frozen=True)
class Audited:
    """A small estimator, where it holds what it has released, and how many steps of its integers make 1 there."""

    estimator: Any
    held: str
    steps: float = 2.0**20

    def fit(self, table: Any, **changes: Any) -> Any:
        """A new object with its parameters and `changes`, fitted; of a clone that releases again users are warned."""
        return type(self.estimator)(**self.estimator.get_params() | changes).fit(*table)

    def neighbours(self) -> tuple[Any, Any]:
        """Two tables that differ in one row, which moves what is released by much."""
        X, y = np.array([[0.9], [0.2], [0.7], [0.1]]), np.array([0, 1, 1, 0])
        if self.estimator.neighbours == "replace_one":
            return (X, y), (np.vstack(([[0.3]], X[1:])), y)
        return (X, y), (X[1:], y[1:])

    def integers(self, fitted: Any) -> Any:
        """What it has released, in whole steps."""
        return np.rint(getattr(fitted, self.held).ravel() * self.steps).astype(np.int64)

    def sums(self) -> list[Any]:
        """The same of both tables without noise, as an attacker who knows them can compute it."""
        return [self.integers(self.fit(table, epsilon=1e6, insecure_seed=0)) for table in self.neighbours()]


_TREE = {"bounds": (0.0, 1.0), "epsilon": 1.0, "depth": 1}

AUDITED = {
    "tree": Audited(PrivateDistance(**_TREE), "nodes_", 1.0),
    "tree, one row replaced": Audited(PrivateDistance(**_TREE, neighbours="replace_one"), "nodes_", 1.0),
    "kernel of classes": Audited(
        PrivateSimilarityClassifier(epsilon=1.0, n_features=1, classes=[0, 1], random_state=0), "sums_"
    ),
    "squared distances, δ = 0.01": Audited(
        PrivateDistance("sqeuclidean", bounds=0.9, epsilon=1.0, delta=1e-2), "moments_"
    ),
}


def largest_move(repeats: int, rng: np.random.RandomState) -> float:
    """Largest change of what is released by one row, over the sensitivity that the release itself states.

    Of each estimator, both relations and both mechanisms. Both fits draw their noise from one seed, so that it cancels.
    """
    largest = 0.0
    for _ in range(repeats):
        X, y = rng.normal(size=(4, 3)) * rng.choice([0.1, 1.0, 100.0]), np.array([0, 1, 1, 0])
        other = np.vstack((rng.normal(size=(1, 3)), X[1:])), np.array([1, 1, 1, 0])
        seeds = {"random_state": int(rng.randint(2**31)), "insecure_seed": 0}
        for estimator in _moving(seeds):
            for relation, neighbour in (("add_remove", (X[1:], y[1:])), ("replace_one", other)):
                for delta, order in ((0.0, 1), (1e-6, 2)):
                    estimator.set_params(neighbours=relation, delta=delta)
                    one, two = (clone(estimator).fit(*table) for table in ((X, y), neighbour))
                    gap = _released(one) - _released(two)
                    largest = max(largest, float(np.linalg.norm(gap, ord=order)) / one.spend_.sensitivity)
    return largest


def _moving(seeds: dict[str, Any]) -> tuple[Any, ...]:
    return (
        PrivateKernelDensity("laplacian", epsilon=1.0, n_features=64, **seeds),
        PrivateSimilarityClassifier(epsilon=1.0, n_features=64, classes=[0, 1], **seeds),
        PrivateSimilarityClassifier("inner", epsilon=1.0, classes=[0, 1], **seeds),
        PrivateDistance(bounds=(-1.0, 1.0), epsilon=1.0, depth=3, **seeds),
        PrivateDistance("sqeuclidean", bounds=1.0, epsilon=1.0, **seeds),
    )


def _released(fitted: Any) -> Any:
    """The vector that noise was added to, and of which the spend states the sensitivity."""
    if isinstance(fitted, PrivateKernelDensity):
        return np.append(fitted.sums_, fitted.count_ * fitted._count_weight())
    if isinstance(fitted, PrivateSimilarityClassifier):
        return fitted.sums_.ravel()
    return (fitted.moments_ if fitted.nodes_ is None else fitted.nodes_).ravel()


def audit_fits(repeats: int, kind: str, noise: float) -> float:
    """ε from below from what so many fitted estimators hold, whose noise is `noise` times what pure ε needs."""
    audited, scores = AUDITED[kind], []
    one, two = audited.sums()
    epsilon = audited.estimator.epsilon / noise
    for table in audited.neighbours():
        fits = [audited.fit(table, epsilon=epsilon) for _ in range(repeats)]
        released, spend = np.stack([audited.integers(each) for each in fits]), fits[0].spend_
        scores.append(log_likelihood_ratio(released, one, two, spend.mechanism, spend.scale * audited.steps))
    return epsilon_lower_bound(scores[0], scores[1], audited.estimator.delta)


def audit_releases(repeats: int, kind: str, noise: float) -> float:
    """The same from so many releases with the noise that one fit states, times `noise`; their number takes no fits.

    Numbers that are alike in both tables tell nothing and are left out.
    """
    audited, scores = AUDITED[kind], []
    one, two = audited.sums()
    differ = one != two
    for table, sums in zip(audited.neighbours(), (one, two), strict=True):
        spend = audited.fit(table).spend_
        scale = spend.scale * audited.steps * noise
        many = add_noise(np.tile(sums[differ], repeats), spend.mechanism, scale, spend.source).reshape(repeats, -1)
        scores.append(log_likelihood_ratio(many, one[differ], two[differ], spend.mechanism, scale))
    return epsilon_lower_bound(scores[0], scores[1], audited.estimator.delta)
