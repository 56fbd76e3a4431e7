import math
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from normkit.data import make_hierarchical_polynomial
from normkit.estimators import HierarchicalPolynomialRegressor, _layerwise_options
from normkit.estimators._infinite_units import InfiniteUnits
from normkit.estimators._layerwise import Sample
from normkit.estimators._layerwise_algebra import algebra

Data = tuple[np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def small() -> Data:
    return make_hierarchical_polynomial(600, 4, random_state=0)


def _error(model: Any, X: np.ndarray, y: np.ndarray) -> float:
    return float(np.mean((model.predict(X) - y) ** 2) / y.var())


def test_it_learns_feature_and_link() -> None:
    X, y, p = make_hierarchical_polynomial(4000, 8, random_state=1)
    fit, test = slice(2000), slice(2000, None)
    model = HierarchicalPolynomialRegressor(random_state=0).fit(X[fit], y[fit])
    z, truth = model.feature_transform(X[test]), p[test]
    assert abs(np.corrcoef(z, truth)[0, 1]) > 0.9
    assert _error(model, X[test], y[test]) < 0.35
    one_shot = PolynomialFeatures(2)
    ridge = Ridge(1e-3).fit(one_shot.fit_transform(X[fit]), y[fit])
    assert _error(model, X[test], y[test]) < 0.7 * np.mean((ridge.predict(one_shot.transform(X[test])) - y[test]) ** 2)
    assert model.report_.r2_stage_2 > model.report_.r2_stage_1 + 0.2
    assert 0.3 < model.report_.derivative_share < 0.7  # a half, for (z + he_2)/√2
    assert "after stage 2" in str(model.report_)


def test_the_prediction_is_the_link_of_the_feature(small: Data) -> None:
    X, y, _ = small
    model = HierarchicalPolynomialRegressor(random_state=0).fit(X, y)
    assert_allclose(model.predict(X), model.link(model.feature_transform(X)))
    assert_allclose(model.report_.link_values, model.link(np.linspace(-3, 3, 61)))
    assert model.link(np.zeros((2, 3))).shape == (2, 3)
    assert model.weight_decay_[0] in 10.0 ** np.arange(-6, 2, 0.5)


@pytest.mark.parametrize("options", [{}, {"n_features_1": 2000}, {"n_features_1": math.inf}, {"solver": "gd"}])
def test_torch_is_numpy(small: Data, options: dict[str, Any]) -> None:
    X, y, _ = small
    one = HierarchicalPolynomialRegressor(random_state=0, n_features_2=20, **options).fit(X, y)
    other = clone(one).set_params(backend="torch", device="cpu").fit(X, y)
    assert_allclose(other.predict(X), one.predict(X), rtol=1e-6, atol=1e-6)


WAYS = pytest.mark.parametrize(
    ("d", "width"), [(4, 10), (4, 900), (30, 900)], ids=["few units", "few monomials", "few samples"]
)


@WAYS
@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("center", [False, True])
def test_each_way_is_the_same_least_squares(d: int, width: int, backend: str, center: bool) -> None:
    """u = (Φᵀ W Φ + ξ I)⁻¹ Φᵀ W y, whichever of units, monomials and the 450 samples of stage 1 are fewest."""
    X, y, _ = make_hierarchical_polynomial(600, d, random_state=0)
    weight = 1.0 + (X[:, 0] > 0)
    options = {"n_features_1": width, "weight_decay": (1e-2, 1e-3), "random_state": 0}
    model = HierarchicalPolynomialRegressor(**options, backend=backend, center=center).fit(X, y, weight)
    first = np.random.RandomState(0).permutation(600)[:450]
    share = weight[first] / weight[first].sum()
    phi = algebra("numpy").polynomial(model.scaler_.transform(X[first]) @ model.directions_.T, 2) / np.sqrt(width)
    values = phi @ model.coef_1_
    assert_allclose(model.feature_mean_, share @ values)
    assert_allclose(model.feature_transform(X[first]), (values - model.feature_mean_) / model.feature_std_, atol=1e-8)
    phi, target = phi - center * (share @ phi), y[first] - share @ y[first]
    wanted = np.linalg.solve((phi.T * share) @ phi + 1e-2 * np.eye(width), phi.T @ (share * target))
    assert_allclose(model.coef_1_, wanted, rtol=1e-6, atol=1e-9)


@WAYS
def test_each_way_chooses_the_same_decay(d: int, width: int) -> None:
    X, y, _ = make_hierarchical_polynomial(600, d, random_state=0)
    model = HierarchicalPolynomialRegressor(n_features_1=width, random_state=0).fit(X, y)
    first = np.random.RandomState(0).permutation(600)[:450]
    phi = algebra("numpy").polynomial(model.scaler_.transform(X[first]) @ model.directions_.T, 2) / np.sqrt(width)
    target, errors = y[first] - y[first].mean(), {}
    for decay in 10.0 ** np.arange(-6, 2, 0.5):
        u = phi[:360].T @ np.linalg.solve(phi[:360] @ phi[:360].T / 360 + decay * np.eye(360), target[:360]) / 360
        errors[decay] = np.mean((phi[360:] @ u - target[360:]) ** 2)
    assert model.weight_decay_[0] == pytest.approx(min(errors, key=lambda decay: errors[decay]))


@pytest.mark.parametrize("width", [150, 1000, math.inf])
def test_a_feature_with_a_trace_needs_centred_units(width: float) -> None:
    X, y, p = make_hierarchical_polynomial(2000, 9, eigenvalues="equal", random_state=0)
    fit, test = slice(1000), slice(1000, None)
    plain, centred = (
        HierarchicalPolynomialRegressor(n_features_1=width, center=center, random_state=0).fit(X[fit], y[fit])
        for center in (False, True)
    )
    assert np.corrcoef(centred.feature_transform(X[test]), p[test])[0, 1] > 0.9
    assert _error(centred, X[test], y[test]) < 0.75 * _error(plain, X[test], y[test])


def test_gradient_descent_comes_to_the_exact_solution(small: Data) -> None:
    X, y, _ = small
    fixed = {"weight_decay": (1e-2, 1e-2), "random_state": 0, "n_features_2": 20}
    exact = HierarchicalPolynomialRegressor(**fixed).fit(X, y)
    near, far = (HierarchicalPolynomialRegressor(solver="gd", n_iter=(n, n), **fixed).fit(X, y) for n in (20_000, 20))
    assert_allclose(near.coef_1_, exact.coef_1_, atol=1e-6)
    assert_allclose(near.coef_2_, exact.coef_2_, atol=1e-6)
    assert np.abs(far.coef_1_ - exact.coef_1_).max() > 1e-3


def test_many_units_tend_to_infinitely_many() -> None:
    X, y, _ = make_hierarchical_polynomial(120, 3, random_state=3)
    options = {"weight_decay": (1e-2, 1e-3), "random_state": 0}
    limit = HierarchicalPolynomialRegressor(n_features_1=math.inf, **options).fit(X, y).feature_transform(X)
    widths = (100, 40_000)
    fits = (HierarchicalPolynomialRegressor(n_features_1=width, **options).fit(X, y) for width in widths)
    few, many = (np.abs(fit.feature_transform(X) - limit).max() for fit in fits)
    assert many < 0.02
    assert many < few / 3


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("decay", [1e-2, "auto"])
def test_infinitely_many_units_by_samples_or_by_monomials(center: bool, decay: float | str) -> None:
    """150 samples of stage 1 and 20 monomials: what the regressor computes by monomials is the kernel's."""
    X, y, _ = make_hierarchical_polynomial(200, 3, 3, random_state=0)
    options = {"n_features_1": math.inf, "degree": 3, "weight_decay": (decay, 1e-3), "random_state": 0}
    model = HierarchicalPolynomialRegressor(**options, center=center).fit(X, y)
    assert model.samples_ is None
    assert model.coef_1_.shape == (20,)
    order = np.random.RandomState(0).permutation(200)[:150]
    first, numpy = model.scaler_.transform(X)[order], algebra("numpy")
    sample = Sample(first, y[order] - y[order].mean(), np.full(150, 1 / 150), 120)
    kernel = InfiniteUnits(first, 3, center, numpy)
    fitted = kernel.fit(sample, decay, None)
    assert fitted.decay == model.weight_decay_[0]
    values = kernel.value(first, fitted.coefficients)
    assert_allclose((values - values.mean()) / values.std(), model.feature_transform(X[order]), atol=1e-6)
    assert_allclose(kernel.polynomial(fitted.coefficients), model.coef_1_, atol=1e-6)


def test_more_monomials_than_samples_keep_the_samples() -> None:
    X, y, _ = make_hierarchical_polynomial(200, 20, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 200 samples are too few for 20 dimensions
        model = HierarchicalPolynomialRegressor(n_features_1=math.inf, random_state=0).fit(X, y)
    assert model.samples_.shape == (150, 20)
    assert model.coef_1_.shape == (150,)
    assert len(model.feature_polynomial()) == 231


@pytest.mark.parametrize("width", [7, 50, math.inf])
def test_the_feature_as_a_polynomial(small: Data, width: float) -> None:
    X, y, _ = small
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    model = HierarchicalPolynomialRegressor(n_features_1=width, random_state=0).fit(frame, y)
    polynomial = model.feature_polynomial()
    assert list(polynomial.values()) == sorted(polynomial.values(), key=abs, reverse=True)
    monomials = (
        PolynomialFeatures(2)
        .set_output(transform="pandas")
        .fit_transform(pd.DataFrame(model.scaler_.transform(X), columns=frame.columns))
    )
    assert set(polynomial) == set(monomials.columns)
    assert_allclose(monomials[list(polynomial)] @ np.array(list(polynomial.values())), model.feature_transform(frame))


def test_a_feature_of_few_variables_is_found_by_name() -> None:
    X, _, _ = make_hierarchical_polynomial(2000, 6, random_state=0)
    p = X[:, 0] * X[:, 1]
    model = HierarchicalPolynomialRegressor(random_state=0).fit(X, p + 0.3 * p**2)
    name, value = next(iter(model.feature_polynomial().items()))
    assert name == "x0 x1"
    assert abs(value) > 0.8


def test_units_of_features_and_target_do_not_matter(small: Data) -> None:
    X, y, _ = small
    model = HierarchicalPolynomialRegressor(random_state=0)
    plain = model.fit(X, y).predict(X)
    other = model.fit(1000 * X + [0, 5, -3, 100], 20 * y + 1e4).predict(1000 * X + [0, 5, -3, 100])
    assert_allclose((other - 1e4) / 20, plain, atol=1e-6)


def test_ranks_do_not_see_a_monotone_map(small: Data) -> None:
    X, y, _ = small
    ranked = HierarchicalPolynomialRegressor(random_state=0, gaussianize=True)
    wanted = ranked.fit(X, y).predict(X)
    assert_allclose(ranked.fit(np.sinh(2 * X), y).predict(np.sinh(2 * X)), wanted, atol=1e-6)


def test_weight_0_is_absence_and_scale_of_weights_does_not_matter(small: Data) -> None:
    X, y, _ = small
    weight = np.where(np.arange(600) % 3 == 0, 0.0, 1.0)
    model = HierarchicalPolynomialRegressor(random_state=0)
    wanted = model.fit(X[weight > 0], y[weight > 0]).predict(X)
    assert_allclose(model.fit(X, y, 7 * weight).predict(X), wanted, rtol=1e-6, atol=1e-8)
    uneven = model.fit(X, y, 1 + 50.0 * (X[:, 0] > 0)).predict(X)
    assert np.abs(uneven - model.fit(X, y).predict(X)).max() > 1e-3


def test_the_torch_module_predicts_the_same_and_exports(small: Data) -> None:
    X, y, _ = small
    model = HierarchicalPolynomialRegressor(random_state=0, degree=3, n_features_1=50).fit(3 * X + 1, y + 5)
    net, x = model.to_torch(), torch.from_numpy(3 * X + 1)
    assert_allclose(net(x).detach().numpy(), model.predict(3 * X + 1), rtol=1e-8, atol=1e-8)
    assert_allclose(net.feature(x).detach().numpy(), model.feature_transform(3 * X + 1), rtol=1e-8, atol=1e-8)
    program = torch.export.export(net.float(), (x.float(),))
    assert_allclose(program.module()(x.float()).detach().numpy(), model.predict(3 * X + 1), atol=1e-3)


def test_frames_keep_their_names(small: Data) -> None:
    X, y, _ = small
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = HierarchicalPolynomialRegressor(random_state=0).fit(frame, pd.Series(y))
    assert list(model.feature_names_in_) == list("abcd")
    assert_allclose(model.predict(frame), HierarchicalPolynomialRegressor(random_state=0).fit(X, y).predict(X))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["b", "a", "c", "d"]])


def test_it_is_a_step_before_another_model(small: Data) -> None:
    X, y, _ = small
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = HierarchicalPolynomialRegressor(random_state=0).set_output(transform="pandas").fit(frame, y)
    column = model.transform(frame)
    assert list(column.columns) == list(model.get_feature_names_out()) == ["hierarchicalpolynomialregressor0"]
    assert_allclose(column.to_numpy()[:, 0], model.feature_transform(frame))
    tail = make_pipeline(HierarchicalPolynomialRegressor(random_state=0), PolynomialFeatures(2), Ridge(1e-3)).fit(X, y)
    assert tail.score(X, y) > 0.7


def test_an_even_link_is_noticed() -> None:
    X, y, _ = make_hierarchical_polynomial(1000, 5, 1, "even", random_state=0)
    with pytest.warns(UserWarning, match=r"stage 1 has learned nothing: its correlation with 250 fresh targets"):
        HierarchicalPolynomialRegressor(degree=1, random_state=0).fit(X, y)
    X, y, _ = make_hierarchical_polynomial(1000, 5, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        HierarchicalPolynomialRegressor(random_state=0).fit(X, y)


def test_an_even_link_of_a_quadratic_is_seldom_noticed() -> None:
    """In few dimensions p is not Gaussian and E y p is not 0: stage 1 sees a little, in most draws more than noise."""
    noticed = 0
    for seed in range(8):
        X, y, _ = make_hierarchical_polynomial(1000, 5, 2, "even", random_state=seed)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            model = HierarchicalPolynomialRegressor(random_state=seed).fit(X, y)
        assert bool(said) == (model.report_.correlation <= model.report_.noise)
        noticed += bool(said)
    assert noticed < 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"degree": 0}, "degree is 0: it must be a whole number of at least 1"),
        ({"degree": 1.5}, "degree is 1.5"),
        ({"n_features_1": 0}, "n_features_1 is 0: it must be None, math.inf or a whole number"),
        ({"n_features_2": -1}, "n_features_2 is -1"),
        ({"split": 1.0}, "split is 1.0: it must be a number between 0 and 1"),
        ({"solver": "sgd"}, "solver is 'sgd': it must be 'exact' or 'gd'"),
        ({"n_iter": 10}, "n_iter is 10: it must be a pair of whole numbers"),
        ({"weight_decay": ("auto", "auto")}, "weight_decay is"),
        ({"weight_decay": (0.0, 1.0)}, "weight_decay is"),
        ({"weight_decay": 1e-3}, "weight_decay is 0.001: it must be a pair: 'auto' or a number above 0, and a number"),
        ({"weight_decay": (np.ones(2), 1e-3)}, r"weight_decay is \(array\(\[1., 1.\]\), 0.001\): it must be a pair"),
        ({"weight_decay": ("auto", [1.0])}, "weight_decay is"),
        ({"n_iter": (10, True)}, "n_iter is"),
        ({"step_size": ("auto", None)}, "step_size is"),
        ({"step_size": (1.0,)}, "step_size is"),
        ({"solver": "gd", "step_size": (1e3, None)}, r"step_size is 1000: it must lie between 0 and 2/\(λ_max"),
        ({"backend": "jax"}, "backend is 'jax': it must be 'numpy' or 'torch'"),
        ({"device": "cpu"}, "only backend='torch' takes them"),
        ({"sync": True, "random_state": 0}, "only backend='torch' takes them"),
        ({"sync": True, "backend": "torch"}, "random_state is None: it must be a seed with sync=True"),
    ],
)
def test_what_is_wrong_is_said_in_fit(small: Data, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HierarchicalPolynomialRegressor(**options).fit(*small[:2])


def test_too_few_samples_for_a_stage(small: Data) -> None:
    X, y, _ = small
    with pytest.raises(ValueError, match="9 samples for stage 1 and 3 for stage 2; they need at least 10 and 2"):
        HierarchicalPolynomialRegressor().fit(X[:12], y[:12])


def test_more_features_than_the_memory_holds(small: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y, _ = small
    monkeypatch.setattr(_layerwise_options, "_memory", lambda: 1e4)
    with pytest.raises(
        ValueError, match=r"n_features = 4, degree = 3: 192 random features on 450 samples need 0\.0 GiB"
    ):
        HierarchicalPolynomialRegressor(degree=3).fit(X, y)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"n_features_2 = 10,000,000: that many units on 150 samples need .* GiB"):
        HierarchicalPolynomialRegressor(n_features_2=10**7).fit(X, y)
    wide = np.random.default_rng(0).standard_normal((20, 500))
    with pytest.raises(ValueError, match=r"degree = 6: 46,875,000,000,000,000 random features .* lower degree"):
        HierarchicalPolynomialRegressor(degree=6).fit(wide, wide[:, 0])


@pytest.mark.parametrize("options", [{"gaussianize": True}, {"n_features_1": math.inf}])
def test_what_is_no_network_is_not_made_one(small: Data, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="neither ranks nor infinitely many units are a torch module"):
        HierarchicalPolynomialRegressor(random_state=0, **options).fit(*small[:2]).to_torch()
