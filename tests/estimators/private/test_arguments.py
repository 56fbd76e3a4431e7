"""Every number that a user gives: what is none, or out of range, is named with what was wanted."""

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from normkit.estimators import (
    PrivacyBudget,
    PrivateDistance,
    PrivateKernelDensity,
    PrivateSimilarityClassifier,
    gaussian_sigma,
)
from normkit.estimators.private.arguments import is_number

X = np.random.default_rng(0).normal(size=(10, 2))
LABELS = np.arange(10) % 2
NONE_OF_THEM = (
    "x",
    [1.0],
    (2,),
    {},
    True,
    False,
    np.bool_(True),
    1 + 2j,
    object,
    math.nan,
    np.array([1.0]),
    Decimal(1),
)

ESTIMATORS: list[tuple[Any, dict[str, Any], tuple[str, ...], tuple[str, ...]]] = [
    (PrivateKernelDensity, {}, ("epsilon", "delta", "bandwidth", "n_features"), ("n_projections", "insecure_seed")),
    (
        PrivateDistance,
        {"bounds": (-2, 2)},
        ("epsilon", "delta", "alpha", "n_projections"),
        ("depth", "insecure_seed"),
    ),
    (PrivateDistance, {"bounds": (-2, 2), "metric": "lp"}, ("p",), ()),
    (
        PrivateSimilarityClassifier,
        {"classes": [0, 1]},
        ("epsilon", "delta", "bandwidth", "n_features"),
        ("n_projections", "insecure_seed"),
    ),
]


@pytest.mark.parametrize(("kind", "options", "needed", "optional"), ESTIMATORS)
def test_what_is_no_number_is_named(
    kind: Any, options: dict[str, Any], needed: tuple[str, ...], optional: tuple[str, ...]
) -> None:
    for name in needed + optional:
        for value in NONE_OF_THEM + ((None,) if name in needed else ()):
            with pytest.raises(ValueError, match=rf"^{name} is .*(give|needs)"):
                kind(**{"epsilon": 1.0, **options, name: value}).fit(X, LABELS)


@pytest.mark.parametrize("name", ["n_features", "n_projections", "depth", "insecure_seed"])
def test_whole_numbers_are_not_floats(name: str) -> None:
    kind = PrivateDistance if name == "depth" else PrivateKernelDensity
    with pytest.raises(ValueError, match=f"{name} is 3.0: give .*whole number"):
        kind(**{"epsilon": 1.0, "bounds": (-2, 2), name: 3.0} if name == "depth" else {"epsilon": 1.0, name: 3.0}).fit(
            X
        )


@pytest.mark.parametrize("bounds", [True, np.bool_(True), "x", {}, {1, 2}, 1 + 2j, object, np.array(3.0), Decimal(1)])
@pytest.mark.parametrize("metric", ["l1", "l2"])
def test_bounds_that_are_none_are_named(metric: str, bounds: Any) -> None:
    with pytest.raises(ValueError, match=r"^bounds is .*give"):
        PrivateDistance(metric, bounds=bounds, epsilon=1.0).fit(X)


@pytest.mark.parametrize(
    "bounds",
    [("a", "b"), (None, 1), (False, True), ([[1], [2, 3]], 1), (0, 10**400), (1, 2, 3), (0, 1 + 2j), [object, 1]],
)
def test_ends_that_are_no_numbers_are_named(bounds: Any) -> None:
    with pytest.raises(ValueError, match=r"^bounds is .*give"):
        PrivateDistance(bounds=bounds, epsilon=1.0).fit(X)


@pytest.mark.parametrize(
    "classes", ["ab", b"ab", 5, True, [[0, 1]], [0], [0, 0], [object(), 1], [None, 1], [], iter([])]
)
def test_classes_that_are_none_are_named(classes: Any) -> None:
    with pytest.raises(ValueError, match=r"^classes is .*give None, or a list of all labels"):
        PrivateSimilarityClassifier(epsilon=1.0, classes=classes).fit(X, LABELS)


def test_labels_of_another_kind_than_the_classes_are_named() -> None:
    with pytest.raises(ValueError, match="y holds a label that is not among classes"):
        PrivateSimilarityClassifier(epsilon=1.0, classes=["0", "1"]).fit(X, LABELS)
    with pytest.raises(ValueError, match="y holds a label that is not among classes"):
        PrivateSimilarityClassifier(epsilon=1.0, classes=[0, 1]).fit(X, LABELS.astype(str))


@pytest.mark.parametrize("value", [None, *NONE_OF_THEM])
def test_budgets_and_sigma_name_what_is_no_number(value: Any) -> None:
    for call in (
        lambda: PrivacyBudget(value),
        lambda: PrivacyBudget(1.0, value),
        lambda: PrivacyBudget(1.0).check(value),
        lambda: PrivacyBudget(1.0).check(0.1, value),
        lambda: gaussian_sigma(value, 1e-5),
        lambda: gaussian_sigma(1.0, value),
        lambda: gaussian_sigma(1.0, 1e-5, value),
    ):
        with pytest.raises(ValueError, match=r"epsilon|delta|sensitivity"):
            call()


def test_numbers_of_any_library_are_numbers() -> None:
    assert all(is_number(each) for each in (1, 2.5, np.float32(1), np.int64(3), Fraction(1, 3), math.inf))
    assert not any(is_number(each) for each in (*NONE_OF_THEM, None, 10**400))
    options = {"epsilon": Fraction(1, 2), "delta": np.float32(1e-5), "n_features": np.int64(4), "bandwidth": 2}
    fitted = PrivateKernelDensity(**options).fit(X)
    assert fitted.spend_.epsilon == 0.5
    assert fitted.estimate_error(X).shape == (10,)


@pytest.mark.parametrize("alpha", [1e-3 - 1e-9, 1e-17, 0, -1.0, math.inf])
def test_shells_without_end_are_refused(alpha: float) -> None:
    options = {"bounds": (-2, 2), "epsilon": 1.0, "depth": 2, "query": "geometric"}
    with pytest.raises(ValueError, match=r"alpha is .*: give a number from 0.001 on"):
        PrivateDistance(alpha=alpha, **options).fit(X)
    fitted = PrivateDistance(**options).fit(X)
    with pytest.raises(ValueError, match=r"alpha is .*: give a number from 0.001 on"):
        fitted.set_params(alpha=alpha).sum_distances(X)


def test_the_smallest_alpha_ends() -> None:
    fitted = PrivateDistance(bounds=(-2, 2), epsilon=1.0, depth=1, query="geometric", alpha=1e-3).fit(X)
    assert np.all(np.isfinite(fitted.sum_distances(X)))


@pytest.mark.parametrize(("epsilon", "delta"), [(1e-12, 0.0), (5e-324, 0.0), (1e-12, 1e-14), (5e-324, 1e-300)])
@pytest.mark.parametrize("source", ["opendp", "fast"])
def test_noise_beyond_whole_numbers_is_refused(epsilon: float, delta: float, source: str) -> None:
    with pytest.raises(ValueError, match=r"noise for it does not fit into 64 bits|whose error costs"):
        PrivateKernelDensity(epsilon=epsilon, delta=delta, noise=source).fit(X)


def test_a_little_epsilon_is_answered_with_much_noise() -> None:
    fitted = PrivateKernelDensity(epsilon=1e-7, n_features=64, random_state=0).fit(X)
    assert np.abs(fitted.sums_).mean() == pytest.approx(fitted.spend_.scale, rel=0.6)
