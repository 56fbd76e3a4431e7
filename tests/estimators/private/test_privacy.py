"""Privacy tested as privacy: what one row can change, what an attacker can tell, what a budget refuses."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from normkit.estimators import (
    PrivacyBudget,
    PrivacyBudgetError,
    PrivateDistance,
    PrivateKernelDensity,
    PrivateSimilarityClassifier,
    load_private,
)
from normkit.estimators.private import classifier, density, release
from normkit.estimators.private.bounds import as_ball, into_ball
from normkit.estimators.private.calibration import gaussian_delta
from normkit.estimators.private.noise import add_noise, opendp_measurement
from normkit.estimators.private.scale import Sensitivity

from .auditing import attack, released

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 3))
LABELS = np.array(["a", "b", "c"])[np.arange(12) % 3]

Make = Callable[..., Any]


def _density(**options: Any) -> Any:
    return PrivateKernelDensity("laplacian", n_features=7, random_state=0, **options)


def _projected(**options: Any) -> Any:
    return PrivateKernelDensity(n_features=7, n_projections=2, random_state=0, **options)


def _tree(**options: Any) -> Any:
    return PrivateDistance(bounds=(-2.0, 2.0), depth=3, **options)


def _directions(**options: Any) -> Any:
    return PrivateDistance("l2", bounds=(-2.0, 2.0), depth=3, n_projections=4, random_state=0, **options)


def _moments(**options: Any) -> Any:
    return PrivateDistance("sqeuclidean", bounds=2.0, **options)


def _classes(**options: Any) -> Any:
    return PrivateSimilarityClassifier(n_features=7, classes=["a", "b", "c", "d"], random_state=0, **options)


def _inner_means(**options: Any) -> Any:
    return PrivateSimilarityClassifier("inner", classes=["a", "b", "c", "d"], weighting="mean", **options)


ALL = (_density, _projected, _tree, _directions, _moments, _classes, _inner_means)


EXTREME = (1.79e308, -1.79e308, 1e200, 1e-300, 5e-324)
"""Finite numbers whose squares, sums or products are not."""


def _neighbours(relation: str, seed: int) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Two data sets of which one holds a row more, or has one row (and its label) exchanged for another.

    From seed 8 on that row holds an extreme number.
    """
    rng = np.random.default_rng(seed)
    rows, labels = X.copy(), LABELS.copy()
    place = int(rng.integers(len(rows)))
    if seed >= 8:
        rows[place, : 1 + seed % 3] = EXTREME[seed - 8]
    if relation == "add_remove":
        return (rows, labels), (np.delete(rows, place, axis=0), np.delete(labels, place))
    other, changed = rows.copy(), labels.copy()
    other[place] = rng.normal(size=3) * rng.choice([0.1, 1.0, 100.0])
    changed[place] = rng.choice(["a", "b", "c", "d"])
    return (rows, labels), (other, changed)


@pytest.mark.parametrize("relation", ["add_remove", "replace_one"])
@pytest.mark.parametrize("delta", [0.0, 1e-5])
@pytest.mark.parametrize("make", ALL)
def test_one_row_moves_the_release_by_no_more_than_the_sensitivity(
    make: Make, delta: float, relation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    farthest = 0.0
    for seed in range(8 + len(EXTREME)):
        one, two = _neighbours(relation, seed)
        found = [
            released(
                lambda part=part: make(epsilon=1.0, delta=delta, neighbours=relation, insecure_seed=0).fit(*part),
                monkeypatch,
            )
            for part in (one, two)
        ]
        (first, fitted), (second, _) = found
        gap = (first.values - second.values).astype(float)
        moved = np.abs(gap).sum() if delta == 0 else np.sqrt((gap**2).sum())
        steps = first.scale / fitted.spend_.scale
        farthest = max(farthest, moved / steps / fitted.spend_.sensitivity)
    assert farthest <= 1.0
    # trees and classes reach their bound or half of it; were it far from reach, noise would be wasted
    assert farthest > 0.3


@pytest.mark.parametrize("bounds", [1e-99, (-1e-99, 1e-99), 1e99, (-4e99, 4e99), ([0.5e100, 0, 0], 1e100)])
def test_rows_are_moved_into_balls_of_any_size(bounds: Any) -> None:
    center, radius = as_ball(bounds, 3)
    assert 0 < radius < np.inf
    rows = np.vstack((X, *(np.full((1, 3), number) for number in EXTREME), 1e3 * radius * X[:3], [center]))
    inside, outside = into_ball(rows, center, radius)
    norm = np.linalg.norm(inside, axis=1)
    assert np.all(norm <= 1 + 1e-15)
    np.testing.assert_allclose(norm[outside], 1.0)
    assert norm[-1] == 0


@pytest.mark.parametrize("relation", ["add_remove", "replace_one"])
@pytest.mark.parametrize("make", ALL)
def test_opendp_certifies_what_is_said_to_be_spent(make: Make, relation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for delta in (0.0, 1e-6):
        found, fitted = released(
            lambda delta=delta: make(epsilon=1.0, delta=delta, neighbours=relation).fit(X, LABELS), monkeypatch
        )
        spend = fitted.spend_
        measurement = opendp_measurement(found.mechanism, found.scale)
        moved = spend.sensitivity * found.scale / spend.scale  # in steps
        if delta == 0:
            assert 0.99 < measurement.map(round(moved)) <= 1.0
        else:
            assert measurement.map(moved) == pytest.approx(spend.rho)
            assert gaussian_delta(1.0, found.scale / moved) <= delta


def test_a_row_moves_nothing_but_its_own_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sum without a row is the sum less its features to the last step: no rounding of others shifts with it."""
    rows = np.random.default_rng(1).normal(size=(501, 17))
    make = lambda part: PrivateKernelDensity(epsilon=1.0, n_features=33, random_state=0, insecure_seed=0).fit(part)  # noqa: E731
    whole, less, alone = (
        released(lambda part=part: make(part), monkeypatch)[0].values for part in (rows, rows[1:], rows[:1])
    )
    np.testing.assert_array_equal(whole, less + alone)


def _two_nodes(**options: Any) -> Any:
    return PrivateDistance(bounds=(-2.0, 2.0), depth=1, **options)


def _one_frequency(**options: Any) -> Any:
    return PrivateKernelDensity(n_features=1, random_state=0, **options)


def _mean_of_inner(**options: Any) -> Any:
    return PrivateSimilarityClassifier("inner", classes=["a", "b"], weighting="mean", **options)


AUDITED = ((_two_nodes, 0.0), (_one_frequency, 0.0), (_one_frequency, 1e-2), (_moments, 1e-2), (_mean_of_inner, 0.0))


@pytest.mark.parametrize(
    ("make", "delta", "source"),
    [*((*each, "opendp") for each in AUDITED), (_two_nodes, 0.0, "fast"), (_moments, 1e-2, "fast")],
)
def test_an_attacker_learns_less_than_the_budget(make: Make, delta: float, source: str) -> None:
    assert attack(make, delta, source, repeats=100) <= 1.0


@pytest.mark.parametrize(("make", "delta"), [(_two_nodes, 0.0), (_moments, 1e-2), (_mean_of_inner, 0.0)])
def test_the_audit_catches_too_little_noise(make: Make, delta: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mechanism that adds a twentieth of the noise that it states is found out by what is released."""
    monkeypatch.setattr(
        release, "add_noise", lambda values, kind, scale, *rest: add_noise(values, kind, scale / 20, *rest)
    )
    assert attack(make, delta, "opendp", repeats=100) > 1.0


@pytest.mark.parametrize(
    ("make", "delta", "module"), [(_mean_of_inner, 0.0, classifier), (_one_frequency, 1e-2, density)]
)
def test_the_audit_catches_too_small_a_sensitivity(
    make: Make, delta: float, module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is one that reckons with a twentieth of what a row can change, and states its noise truly."""
    monkeypatch.setattr(module, "Sensitivity", lambda *a, **k: Sensitivity(*(each / 20 for each in a), **k))
    assert attack(make, delta, "opendp", repeats=100) > 1.0


@pytest.mark.slow
def test_a_hundred_thousand_releases() -> None:
    """Half of them choose the test and the others judge it: the bound comes near the budget and not over it."""
    assert 0.8 < attack(_two_nodes, 0.0, "opendp", repeats=50_000) <= 1.0


@pytest.mark.slow
@pytest.mark.parametrize(("make", "delta"), [(_two_nodes, 0.0), (_moments, 1e-2)])
@pytest.mark.parametrize("source", ["opendp", "fast"])
def test_the_audit_catches_half_the_noise(
    make: Make, delta: float, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        release, "add_noise", lambda values, kind, scale, *rest: add_noise(values, kind, scale / 2, *rest)
    )
    assert attack(make, delta, source, repeats=8_000) > 1.0


@pytest.mark.parametrize("make", ALL)
def test_what_is_kept_holds_no_row(make: Make, tmp_path: Any) -> None:
    rows = np.random.default_rng(2).normal(size=(40, 3))
    labels = np.array(["a", "b", "c", "d"])[np.arange(40) % 4]
    fitted = make(epsilon=1.0).fit(rows, labels)
    pickled = pickle.dumps(fitted)
    fitted.save(tmp_path / "release.safetensors")
    written = (tmp_path / "release.safetensors").read_bytes()
    for value in rows.ravel():
        for text in (value.tobytes(), np.float32(value).tobytes(), repr(float(value)).encode()):
            assert text not in pickled
            assert text not in written
    kept = set(vars(pickle.loads(pickled)))
    assert not any(name.startswith("_unreleased") for name in kept)
    again = load_private(tmp_path / "release.safetensors")
    assert again.spend_ == fitted.spend_


def test_how_many_rows_were_outside_is_not_released(tmp_path: Any) -> None:
    fitted = _tree(epsilon=1.0).fit([[9.0], [0.0], [-9.0]])
    assert fitted._unreleased_outside == 2
    assert not hasattr(pickle.loads(pickle.dumps(fitted)), "_unreleased_outside")
    assert "_unreleased_outside" not in repr(fitted)


def test_the_count_is_noisy_where_it_is_private() -> None:
    counts = {_density(epsilon=0.5).fit(X).count_ for _ in range(5)}
    assert len(counts) == 5
    assert not any(float(value).is_integer() and value == len(X) for value in counts)
    assert _density(epsilon=0.5, neighbours="replace_one").fit(X).count_ == len(X)


def test_two_releases_have_different_noise() -> None:
    one, two = (_density(epsilon=1.0).fit(X) for _ in range(2))
    np.testing.assert_array_equal(one.frequencies_, two.frequencies_)
    assert not np.any(one.sums_ == two.sums_)


@pytest.mark.parametrize("make", ALL)
def test_an_object_releases_once(make: Make) -> None:
    fitted = make(epsilon=1.0).fit(X, LABELS)
    with pytest.raises(PrivacyBudgetError, match="has released once"):
        fitted.fit(X, LABELS)
    with pytest.raises(PrivacyBudgetError, match="has released once"):
        pickle.loads(pickle.dumps(fitted)).fit(X, LABELS)


def test_queries_are_free_and_answer_the_same() -> None:
    fitted = _density(epsilon=1.0).fit(X)
    spent = fitted.spend_
    answers = [fitted.sum(X) for _ in range(3)]
    np.testing.assert_array_equal(answers[0], answers[2])
    assert fitted.spend_ == spent


def test_a_budget_cannot_be_exceeded() -> None:
    budget = PrivacyBudget(epsilon=1.0, delta=1e-5)
    for _ in range(10):
        _density(epsilon=0.1, budget=budget).fit(X)
    assert budget.spent == pytest.approx((1.0, 0.0))
    calls: list[str] = []
    rows = _Watched(calls)
    for make in ALL:
        with pytest.raises(PrivacyBudgetError, match="1 and 0 are spent"):
            clone(make(epsilon=0.01, budget=budget)).fit(rows, LABELS)
    assert len(budget.spends) == 10
    with pytest.raises(PrivacyBudgetError, match="has released once"):
        _density(epsilon=1.0).fit(X).fit(rows)
    assert not calls, "a refused fit must not read a row"


class _Watched:
    """Rows that note when they are read."""

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls

    def __array__(self, *arguments: Any, **options: Any) -> np.ndarray:
        self.calls.append("read")
        return X


def test_a_budget_counts_delta_too() -> None:
    budget = PrivacyBudget(epsilon=10.0, delta=1e-5)
    _density(epsilon=1.0, delta=1e-5, budget=budget).fit(X)
    with pytest.raises(PrivacyBudgetError, match="delta"):
        _density(epsilon=1.0, delta=1e-9, budget=budget).fit(X)
    _density(epsilon=1.0, budget=budget).fit(X)


def test_a_budget_is_shared_by_clones_and_stays_in_its_process() -> None:
    budget = PrivacyBudget(epsilon=1.0)
    estimator = _density(epsilon=1.0, budget=budget)
    assert clone(estimator).budget is budget
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(estimator)
    assert "spent 0" in repr(budget)
    estimator.fit(X)
    with pytest.raises(PrivacyBudgetError):
        estimator.fit(X)  # with a budget a second fit is a second release


def test_seeded_noise_says_that_it_is_not_private() -> None:
    seeded = _density(epsilon=1.0, insecure_seed=0)
    assert "NOT PRIVATE" in repr(seeded)
    assert "NOT PRIVATE" not in repr(_density(epsilon=1.0))
    assert not seeded.fit(X).spend_.private


def test_the_audits_see_a_broken_release(monkeypatch: pytest.MonkeyPatch) -> None:
    """They look at what fitted objects hold, so neither missing noise nor a sensitivity too small escapes them."""
    from normkit.papers._private_audit import AUDITED, audit_fits, largest_move

    with monkeypatch.context() as patch:
        patch.setattr(release, "add_noise", lambda values, *_: values)
        for kind in AUDITED:
            assert audit_fits(150, kind, 1.0) > 1.0
    with monkeypatch.context() as patch:
        patch.setattr(density, "Sensitivity", lambda *a, **k: Sensitivity(*(each / 10 for each in a), **k))
        assert largest_move(3, np.random.RandomState(0)) > 5.0
