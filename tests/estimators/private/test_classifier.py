"""Means of classes that are empty or nearly so."""

import numpy as np
import pytest

from normkit.estimators import PrivateSimilarityClassifier

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
