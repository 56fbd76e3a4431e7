import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.exceptions import ConvergenceWarning

from normkit.data import make_hierarchical_polynomial
from normkit.estimators import kernel_ridge, two_layer_network


@pytest.mark.parametrize("options", [{"degree": 3}, {"degree": None, "bandwidth": 1.7}])
def test_kernel_ridge_is_its_equation(options: dict) -> None:
    X, y, _ = make_hierarchical_polynomial(60, 3, noise=0.5, random_state=0)
    model = kernel_ridge(**options).fit(X, y)
    product = X @ X.T
    squares = np.diag(product)
    if options["degree"]:
        kernel = (1 + product / 3) ** 3
    else:
        kernel = np.exp(-(squares[:, None] + squares - 2 * product) / (2 * 1.7**2))
    errors = {}
    for ridge in model.param_grid["alpha"]:  # the last 12 choose
        guess = kernel[48:, :48] @ np.linalg.solve(kernel[:48, :48] + ridge * np.eye(48), y[:48])
        errors[ridge] = np.mean((guess - y[48:]) ** 2)
    best = min(errors, key=lambda ridge: errors[ridge])
    assert model.best_params_["alpha"] == best
    assert_allclose(model.predict(X), kernel @ np.linalg.solve(kernel + best * np.eye(60), y), rtol=1e-5)


def test_a_kernel_of_the_full_degree_is_exact_once_there_are_enough_samples() -> None:
    """C(5+4, 4) = 126 monomials of degree 4 in 5 dimensions."""
    X, y, _ = make_hierarchical_polynomial(500, 5, random_state=0)
    for n, low, high in ((100, 0.01, np.inf), (200, 0.0, 1e-6)):
        error = np.mean((kernel_ridge(4).fit(X[:n], y[:n]).predict(X[300:]) - y[300:]) ** 2)
        assert low <= error <= high


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"degree": 4, "bandwidth": 1.0}, "degree is 4 and bandwidth 1.0: give one of them"),
        ({"degree": None}, "degree is None and bandwidth None: give one of them"),
        ({"degree": 0}, "degree is 0: it must be a positive number or None"),
        ({"degree": None, "bandwidth": float("inf")}, "bandwidth is inf: it must be a positive number or None"),
    ],
)
def test_one_kernel_is_asked_for(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kernel_ridge(**options)


def test_the_network_keeps_the_epoch_that_validates_best() -> None:
    X, y, _ = make_hierarchical_polynomial(200, 3, random_state=0)
    model = two_layer_network((16,), epochs=4, random_state=0)
    with pytest.warns(ConvergenceWarning):
        model.fit(X, y)
    assert model.n_iter_ == 4
    assert [layer.shape for layer in model.coefs_] == [(3, 16), (16, 1)]
    assert model.best_validation_score_ == max(model.validation_scores_)
