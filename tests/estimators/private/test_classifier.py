"""Means of classes that are empty or nearly so, and the labels that classes may have."""

import subprocess
import sys
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from normkit.estimators import PrivacyBudget, PrivateSimilarityClassifier, load_private

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 4))
LABELS = np.where(X[:, 0] > 0, "right", "left")


@pytest.mark.parametrize("delta", [0.0, 1e-5])
@pytest.mark.parametrize("similarity", ["gaussian", "inner"])
def test_the_mean_of_an_empty_class_is_not_predicted(similarity: str, delta: float) -> None:
    accuracies = []
    for seed in range(5):
        classifier = PrivateSimilarityClassifier(
            similarity,
            2.0,
            epsilon=4.0 if delta == 0 else 1.0,
            delta=delta,
            n_features=100,
            weighting="mean",
            classes=["left", "right", *"abcdefgh"],
            random_state=seed,
            noise="fast",
        )
        accuracies.append(classifier.fit(X, LABELS).score(X, LABELS))
    assert np.mean(accuracies) > 0.7


def test_where_no_class_has_enough_rows_the_largest_mean_is_predicted() -> None:
    options = {"epsilon": 0.01, "weighting": "mean", "classes": ["left", "right"], "n_features": 10, "insecure_seed": 0}
    classifier = PrivateSimilarityClassifier(**options).fit(X[:4], ["left", "right", "left", "right"])
    expected = classifier.classes_[classifier.similarity_sums(X).argmax(axis=1)]
    np.testing.assert_array_equal(classifier.predict(X), expected)


@pytest.mark.parametrize("n_rows", [29, 30])
def test_given_classes_are_silent_however_many_labels_occur(n_rows: int) -> None:
    """A warning that one row more takes away tells of that row."""
    PrivateSimilarityClassifier(epsilon=1.0, n_features=8, classes=range(20)).fit(X[:n_rows], np.arange(n_rows) % 15)


def test_the_warning_of_labels_points_at_the_call_of_fit(tmp_path: Path) -> None:
    """In a process of its own: checks of annotations, as tests have them, are frames too."""
    script = tmp_path / "script.py"
    script.write_text(
        "from normkit.estimators import PrivateSimilarityClassifier\n"
        "PrivateSimilarityClassifier(epsilon=1.0, n_features=8).fit([[0.0], [1.0]], [0, 1])\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert f"{script}:2: PrivacyWarning: the classes were read from y" in done.stderr


KEPT = [[True, False], [1, 2**40], [1.0, 2.0], np.array([1, 2], dtype=np.float32), ["a", "ü"]]
NOT_KEPT = [
    np.array(["2020-01-01", "2021-01-01"], dtype="datetime64[D]"),
    np.array([1, 2], dtype="timedelta64[s]"),
    [b"a", b"b"],
    [1j, 2j],
    np.array([1, 2], dtype=np.longdouble),
    [0.5, 1.5],
    [0.0, float("inf")],
    [0.0, float("nan")],
    [Fraction(1, 2), Fraction(1, 3)],
    [date(2020, 1, 1), date(2021, 1, 1)],
    [10**30, 10**31],
]


@pytest.mark.parametrize("labels", NOT_KEPT, ids=str)
def test_labels_that_no_file_can_hold_are_refused_before_anything_is_spent(labels: Any) -> None:
    budget = PrivacyBudget(1.0)
    classifier = PrivateSimilarityClassifier(epsilon=1.0, n_features=8, classes=labels, budget=budget)
    with pytest.raises(ValueError, match="list of all labels that could occur"):
        classifier.fit(X[:2], [0, 1])
    if np.asarray(labels).dtype.kind in "mM":
        read = PrivateSimilarityClassifier(epsilon=1.0, n_features=8, budget=budget)
        with pytest.raises(ValueError, match=r"y holds labels of (datetime|timedelta)64"):
            read.fit(X[:2], labels)
    assert budget.spends == ()


@pytest.mark.parametrize("labels", KEPT, ids=str)
def test_labels_of_every_other_kind_come_back_from_a_file(labels: Any, tmp_path: Path) -> None:
    classifier = PrivateSimilarityClassifier(epsilon=1.0, n_features=8, classes=labels).fit(X[:2], labels)
    classifier.save(tmp_path / "release")
    np.testing.assert_array_equal(load_private(tmp_path / "release").predict(X), classifier.predict(X))


def test_classes_may_come_from_a_generator_and_are_named_in_errors() -> None:
    classifier = PrivateSimilarityClassifier(epsilon=1.0, n_features=8, classes=(each for each in (0, 1)))
    with pytest.raises(ValueError, match=r"not among classes=\[0, 1\]"):
        classifier.fit(X[:2], [0, 2])
