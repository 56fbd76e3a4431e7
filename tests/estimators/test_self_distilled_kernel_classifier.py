from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.model_selection import train_test_split

from normkit import data
from normkit.estimators import SelfDistilledKernelClassifier, SelfDistilledKernelRidge, _learning

GENERATOR = np.random.default_rng(1)
CENTERS = np.array([[0.0, 0.0], [2.5, 0.0], [0.0, 2.5]])
NUMBERS = GENERATOR.integers(0, 3, 90)
X = CENTERS[NUMBERS] + GENERATOR.normal(size=(90, 2))
LABELS = np.array(["ant", "bee", "cat"])[NUMBERS]


def test_it_is_ridge_on_centered_one_hot_rows() -> None:
    ours = SelfDistilledKernelClassifier(alpha=0.2, n_rounds=3, lam=0.3).fit(X, LABELS)
    ridge = SelfDistilledKernelRidge(alpha=0.2, n_rounds=3, lam=0.3).fit(X, np.eye(3)[NUMBERS] - 1 / 3)
    np.testing.assert_allclose(ours.decision_function(X), ridge.predict(X), atol=1e-12)
    assert list(ours.classes_) == ["ant", "bee", "cat"]
    for mine, values in zip(ours.staged_predict(X), ridge.staged_predict(X), strict=True):
        assert np.array_equal(mine, ours.classes_[values.argmax(axis=1)])
    assert np.array_equal(ours.limit_predict(X), ours.classes_[ridge.limit_predict(X).argmax(axis=1)])


def test_two_classes_decide_by_sign() -> None:
    two = NUMBERS < 2
    model = SelfDistilledKernelClassifier(lam=0.3, alpha=0.3).fit(X[two], LABELS[two])
    values = model.decision_function(X)
    assert values.shape == (90,)
    assert np.array_equal(model.predict(X), np.where(values > 0, "bee", "ant"))


def test_the_split_keeps_the_classes_in_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    rare = np.where(np.arange(100) < 5, "rare", "common")
    drawn = []

    def watched(*arguments: Any, **options: Any) -> Any:
        drawn.append(train_test_split(*arguments, **options))
        return drawn[-1]

    monkeypatch.setattr(_learning, "train_test_split", watched)
    SelfDistilledKernelClassifier(lam=0.3, random_state=0).fit(GENERATOR.normal(size=(100, 2)), rare)
    ((_, val),) = drawn
    assert (rare[val] == "rare").sum() == 1


def test_a_class_of_one_sample_is_no_obstacle() -> None:
    labels = LABELS.astype(object)
    labels[0] = "dodo"
    assert "dodo" in SelfDistilledKernelClassifier(lam=0.3, random_state=0).fit(X, labels).classes_


def test_given_validation_data_and_weights() -> None:
    options = {"lam": 0.3, "n_rounds": 4}
    train, val = np.arange(60), np.arange(60, 90)
    weights = np.where(NUMBERS == 0, 2.0, 1.0)
    ours = SelfDistilledKernelClassifier(**options).fit(
        sparse.csr_array(X[train]),
        LABELS[train],
        weights[train],
        X_val=sparse.csr_array(X[val]),
        y_val=LABELS[val],
        sample_weight_val=weights[val],
    )
    targets = np.eye(3)[NUMBERS] - 1 / 3
    ridge = SelfDistilledKernelRidge(**options).fit(
        X[train], targets[train], weights[train], X_val=X[val], y_val=targets[val], sample_weight_val=weights[val]
    )
    np.testing.assert_allclose(ours.alphas_, ridge.alphas_, atol=1e-10)
    np.testing.assert_allclose(ours.val_losses_, ridge.val_losses_, atol=1e-12)


def test_a_validation_label_that_was_not_trained_on_is_named() -> None:
    with pytest.raises(ValueError, match="y_val holds the label 'dodo', which does not occur in y"):
        SelfDistilledKernelClassifier().fit(X, LABELS, X_val=X[:2], y_val=np.array(["ant", "dodo"]))
    with pytest.raises(ValueError, match="belong together"):
        SelfDistilledKernelClassifier().fit(X, LABELS, X_val=X[:2])


def test_rounds_mend_what_noisy_labels_spoil() -> None:
    x, y, x_test, y_test = (each.numpy() for each in data.digits("unit"))
    x, x_test = x.reshape(len(x), -1), x_test.reshape(len(x_test), -1)
    noisy = np.where(GENERATOR.random(len(y)) < 0.3, GENERATOR.integers(0, 10, len(y)), y)
    model = SelfDistilledKernelClassifier(gamma=0.3, lam=0.3, solver="cholesky", random_state=0).fit(
        x[:600], noisy[:600]
    )
    right = [(each == y_test).mean() for each in model.staged_predict(x_test)]
    assert right[-1] > right[0] + 0.02
