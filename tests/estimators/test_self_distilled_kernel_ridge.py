import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import rbf_kernel, sigmoid_kernel
from sklearn.model_selection import train_test_split

from normkit.estimators import SelfDistilledKernelRidge, _kernel_map

GENERATOR = np.random.default_rng(0)
X, X_NEW = GENERATOR.normal(size=(40, 3)), GENERATOR.normal(size=(15, 3))
Y = np.stack([np.sin(X.sum(axis=1)), X[:, 0] * X[:, 1]], axis=1) + 0.3 * GENERATOR.normal(size=(40, 2))
Y_NEW = np.stack([np.sin(X_NEW.sum(axis=1)), X_NEW[:, 0] * X_NEW[:, 1]], axis=1)
WEIGHTS = GENERATOR.uniform(0.1, 3, size=40)
HELD = {"X_val": X_NEW, "y_val": Y_NEW}


def fitted(X: Any = X, y: Any = Y, weights: Any = None, held: Any = None, **options: Any) -> SelfDistilledKernelRidge:
    chosen = {"gamma": 0.4, "lam": 0.1, "alpha": 0.3, "n_rounds": 4, "random_state": 0} | options
    return SelfDistilledKernelRidge(**chosen).fit(X, y, weights, **(held or {}))


def rounds(model: SelfDistilledKernelRidge, X: Any = X_NEW) -> Any:
    return np.stack(list(model.staged_predict(X)))


def close(ours: Any, wanted: Any, tolerance: float = 1e-10) -> None:
    np.testing.assert_allclose(ours, wanted, rtol=0, atol=tolerance * max(1.0, np.abs(wanted).max()))


@pytest.mark.parametrize("solver", ["eigen", "cholesky"])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("kernel", ["rbf", "laplacian", "polynomial", "linear", lambda a, b: float((1 + a @ b) ** 2)])
def test_the_first_round_is_kernel_ridge(kernel: Any, weights: Any, solver: str) -> None:
    ours = fitted(kernel=kernel, weights=weights, n_rounds=1, solver=solver)
    plain = KernelRidge(alpha=0.1, kernel=kernel, gamma=0.4).fit(X, Y, sample_weight=weights)
    close(ours.predict(X_NEW), plain.predict(X_NEW))


def test_each_round_is_kernel_ridge_on_mixed_targets() -> None:
    alphas = [1.0, 0.2, 0.0, 0.7]
    staged = rounds(fitted(alpha=alphas, weights=WEIGHTS), np.vstack([X, X_NEW]))
    teacher = Y
    for alpha, ours in zip(alphas, staged, strict=True):
        plain = KernelRidge(alpha=0.1, kernel="rbf", gamma=0.4)
        plain.fit(X, alpha * Y + (1 - alpha) * teacher, sample_weight=WEIGHTS)
        teacher = plain.predict(X)
        close(ours, np.vstack([teacher, plain.predict(X_NEW)]))


@pytest.mark.parametrize("options", [{"solver": "cholesky"}, {"backend": "torch"}])
@pytest.mark.parametrize("alpha", [0.3, "optimal"])
def test_solvers_and_backends_agree(alpha: Any, options: dict[str, Any]) -> None:
    plain = fitted(alpha=alpha, weights=WEIGHTS, held=HELD)
    other = fitted(alpha=alpha, weights=WEIGHTS, held=HELD, **options)
    close(rounds(other), rounds(plain))
    close(other.alphas_, plain.alphas_, 1e-9)
    close(other.val_losses_, plain.val_losses_)


def test_torch_factors_as_scipy_does() -> None:
    close(rounds(fitted(solver="cholesky", backend="torch", device="cpu")), rounds(fitted()))


def test_all_samples_as_nystroem_features_are_the_kernel() -> None:
    close(rounds(fitted(n_components=40, weights=WEIGHTS)), rounds(fitted(weights=WEIGHTS)), 1e-7)
    assert fitted(n_components=12).dual_coef_.shape == (12, 2)


def test_nystroem_features_are_passed_over_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rounds(fitted(n_components=12, weights=WEIGHTS))
    monkeypatch.setattr(_kernel_map, "BLOCK_BYTES", 8 * 12 * 7)
    close(rounds(fitted(n_components=12, weights=WEIGHTS)), whole)


def test_queries_are_taken_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fitted()
    whole = rounds(model)
    monkeypatch.setattr(_kernel_map, "BLOCK_BYTES", 8 * 40 * 4)
    close(rounds(model), whole)


def test_weights_are_repetitions_and_zero_is_absence() -> None:
    counts = np.arange(40) % 3
    repeated, kept = np.repeat(np.arange(40), counts), counts > 0
    weighted = fitted(weights=counts.astype(float))
    close(rounds(fitted(X[repeated], Y[repeated])), rounds(weighted))
    close(rounds(fitted(X[kept], Y[kept], counts[kept])), rounds(weighted))


def test_weights_of_validation_samples() -> None:
    counts = np.arange(15) % 3
    repeated = np.repeat(np.arange(15), counts)
    weighted = fitted(alpha="optimal", held=HELD | {"sample_weight_val": counts})
    plain = fitted(alpha="optimal", held={"X_val": X_NEW[repeated], "y_val": Y_NEW[repeated]})
    close(weighted.alphas_, plain.alphas_)
    close(weighted.val_losses_, plain.val_losses_)


def test_sparse_input_and_frames() -> None:
    thin = np.where(np.abs(X) > 0.7, X, 0.0)
    plain = rounds(fitted(thin, alpha="optimal"))
    for kind in (sparse.csr_array, sparse.csc_matrix):
        close(rounds(fitted(kind(thin), alpha="optimal"), sparse.csr_array(X_NEW)), plain)
    close(rounds(fitted(sparse.csr_array(thin), n_components=9)), rounds(fitted(thin, n_components=9)))
    frame = pd.DataFrame(thin, columns=["a", "b", "c"])
    model = fitted(frame, pd.DataFrame(Y), alpha="optimal")
    assert list(model.feature_names_in_) == ["a", "b", "c"]
    close(rounds(model, pd.DataFrame(X_NEW, columns=["a", "b", "c"])), plain)


def test_a_precomputed_kernel() -> None:
    gram, new = rbf_kernel(X, gamma=0.4), rbf_kernel(X_NEW, X, gamma=0.4)
    before = gram.copy()
    for options in ({}, {"alpha": "optimal"}, {"alpha": "optimal", "validation_fraction": "loo"}):
        close(rounds(fitted(gram, kernel="precomputed", **options), new), rounds(fitted(**options)))
    held = {"X_val": new, "y_val": Y_NEW}
    close(
        fitted(gram, kernel="precomputed", alpha="optimal", held=held).alphas_,
        fitted(alpha="optimal", held=HELD).alphas_,
    )
    assert np.array_equal(gram, before)


def test_outputs_stand_alone_and_shapes_are_kept() -> None:
    both = fitted()
    for column in range(2):
        one = fitted(y=Y[:, column])
        assert one.predict(X_NEW).shape == (15,)
        assert one.dual_coef_.shape == (40,)
        close(rounds(one), rounds(both)[:, :, column])
    assert fitted(y=Y[:, :1]).predict(X_NEW).shape == (15, 1)
    assert both.dual_coef_.shape == (40, 2)


def test_the_limit() -> None:
    plain = KernelRidge(alpha=0.1 / 0.3, kernel="rbf", gamma=0.4).fit(X, Y, sample_weight=WEIGHTS).predict(X_NEW)
    model = fitted(n_rounds=300, weights=WEIGHTS)
    close(model.limit_predict(X_NEW), plain)
    close(model.predict(X_NEW), plain)
    for solver in ("eigen", "cholesky"):
        limit = fitted(n_rounds="inf", solver=solver, weights=WEIGHTS, held=HELD)
        close(limit.predict(X_NEW), plain)
        close(limit.limit_predict(X_NEW), plain)
        assert limit.n_rounds_ == float("inf")
        close(limit.val_losses_, [np.square(plain - Y_NEW).mean()])


@pytest.mark.parametrize("solver", ["eigen", "cholesky"])
def test_without_the_ground_truth_everything_collapses(solver: str) -> None:
    model = fitted(alpha=0.0, n_rounds=3000, solver="eigen")
    assert np.abs(model.predict(X_NEW)).max() < 0.05
    assert not model.limit_predict(X_NEW).any()
    assert not fitted(alpha=0.0, n_rounds="inf", solver=solver).predict(X_NEW).any()
    assert np.isinf(model.effective_ridge_[1:]).all()


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_rounds_shrink_small_directions_more(alpha: float) -> None:
    """What is left of a large direction over a small one's: without an end, or up to that of ridge λ/α."""
    model = fitted(alpha=alpha, n_rounds=40)
    d, ratio = model.eigenvalues_[[-1, 20]], model.shrinkage_[:, -1] / model.shrinkage_[:, 20]
    assert ratio[0] == pytest.approx(d[0] / (d[0] + 0.1) * (d[1] + 0.1) / d[1])
    assert (np.diff(ratio[:8]) > 0).all()
    if alpha:
        assert ratio[-1] == pytest.approx(d[0] / (d[0] + 0.1 / alpha) * (d[1] + 0.1 / alpha) / d[1], rel=1e-5)
    else:
        assert ratio == pytest.approx(ratio[0] ** np.arange(1, 41))
    assert (np.diff(model.degrees_of_freedom_) < 0).all()
    close(model.degrees_of_freedom_, model.shrinkage_.sum(axis=1))
    with np.errstate(divide="ignore"):
        close(1 / model.effective_ridge_, [1 / 0.1] + [alpha / 0.1] * 39)


@pytest.mark.filterwarnings("ignore:nothing was distilled")
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), alpha=st.floats(-2, 2), clip=st.booleans())
def test_no_alpha_is_better_than_the_best(seed: int, alpha: float, clip: bool) -> None:
    generator = np.random.default_rng(seed)
    y = generator.normal(size=40)
    held = {"X_val": X_NEW, "y_val": generator.normal(size=15)}
    best = fitted(y=y, alpha="optimal", n_rounds=3, clip=clip, held=held)
    if clip:
        alpha = min(1.0, max(0.0, alpha))
    other = fitted(y=y, alpha=[*best.alphas_[:2], alpha], n_rounds=3, clip=False, held=held)
    assert best.val_losses_[2] <= other.val_losses_[2] * (1 + 1e-10)


def test_the_set_aside_part_finds_alpha_and_all_samples_are_fitted() -> None:
    found = fitted(alpha="optimal", validation_fraction=0.3)
    again = fitted(alpha=list(found.alphas_))
    close(rounds(found), rounds(again))
    assert len(found.val_losses_) == 4
    assert again.val_losses_ is None
    assert np.array_equal(found.alphas_, fitted(alpha="optimal", validation_fraction=0.3).alphas_)
    assert fitted(alpha="optimal", random_state=7).alphas_[1] != found.alphas_[1]


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("lam", [0.1, 0.1 / 0.3], ids=["first", "limit"])
def test_leaving_one_out_is_exact_for_the_first_round_and_the_limit(lam: float, weights: Any) -> None:
    w = np.ones(40) if weights is None else weights
    total = 0.0
    for left in range(40):
        kept = np.arange(40) != left
        plain = KernelRidge(alpha=lam, kernel="rbf", gamma=0.4).fit(X[kept], Y[kept], sample_weight=w[kept])
        total += w[left] * np.square(plain.predict(X[[left]]) - Y[left]).mean()
    first = fitted(alpha=[1.0, *[0.3] * 99], n_rounds="best", weights=weights, validation_fraction="loo", lam=lam)
    assert first.val_losses_[0] == pytest.approx(total / w.sum(), rel=1e-10)
    if lam != 0.1:
        model = fitted(alpha=0.3, n_rounds="best", weights=weights, validation_fraction="loo")
        judged = _loo_losses_of_all_rounds(weights)
        assert judged[-1] == pytest.approx(total / w.sum(), rel=1e-6)
        assert model.val_losses_ == pytest.approx(judged[: model.n_rounds_])


def _loo_losses_of_all_rounds(weights: Any) -> Any:
    """By the hat matrices themselves."""
    w = np.ones(40) if weights is None else weights
    root = np.sqrt(w)
    gram = rbf_kernel(X, gamma=0.4) * root[:, None] * root
    a = gram @ np.linalg.inv(gram + 0.1 * np.eye(40))
    hat, losses = a, []
    for _ in range(100):
        y = Y * root[:, None]
        residual = (y - hat @ y) / (1 - np.diag(hat))[:, None]
        losses.append(np.square(residual).sum() / (2 * w.sum()))
        hat = a @ (0.3 * np.eye(40) + 0.7 * hat)
    return np.array(losses)


def test_leaving_one_out_of_nystroem_features() -> None:
    model = fitted(n_components=40, alpha="optimal", validation_fraction="loo", weights=WEIGHTS)
    plain = fitted(alpha="optimal", validation_fraction="loo", weights=WEIGHTS)
    close(model.val_losses_, plain.val_losses_, 1e-6)
    close(model.alphas_, plain.alphas_, 1e-5)


def test_as_many_rounds_as_are_worth_it() -> None:
    every = fitted(alpha=0.0, n_rounds=12, held=HELD).val_losses_
    best = fitted(alpha=0.0, n_rounds="best", held=HELD)
    assert best.n_rounds_ == np.argmin(every) + 1 < 12
    close(best.val_losses_, every[: best.n_rounds_])
    split = fitted(alpha="optimal", n_rounds="best")
    assert len(split.alphas_) == len(split.val_losses_) == split.n_rounds_ == len(rounds(split))


NOTHING = "nothing was distilled: the fit is plain kernel ridge regression with lam"


@pytest.mark.parametrize("rounds_", [5, "best"])
def test_a_ridge_that_shrinks_too_much_already_is_said(rounds_: Any) -> None:
    exact = np.sin(X.sum(axis=1))
    with pytest.warns(
        UserWarning, match=rf"{NOTHING}=3.*validation data want less.*round 2 is \d+\.\d+, beyond 1.*smaller"
    ):
        model = fitted(y=exact, lam=3.0, alpha="optimal", n_rounds=rounds_)
    assert model.distilled_ is False
    close(model.predict(X_NEW), KernelRidge(alpha=3.0, kernel="rbf", gamma=0.4).fit(X, exact).predict(X_NEW))


def test_a_fit_that_meets_its_targets_is_said() -> None:
    with pytest.warns(UserWarning, match=rf"{NOTHING}=1e-09.*meets its targets so closely.*larger lam"):
        assert not fitted(gamma=50.0, lam=1e-9, alpha="optimal", held=HELD).distilled_


def test_a_round_that_gains_nothing_is_said() -> None:
    draw = np.random.default_rng(2)
    x = draw.normal(size=(25, 2))
    y = np.sin(2 * x[:, 0]) + 0.4 * draw.normal(size=25)
    with pytest.warns(UserWarning, match=rf"{NOTHING}=0.3.*alpha of 0.99.* no smaller validation loss than round 1"):
        model = fitted(x, y, lam=0.3, alpha="optimal", n_rounds="best", validation_fraction="loo")
    assert not model.distilled_


def test_what_was_asked_for_is_no_warning() -> None:
    for options in ({"alpha": 1.0}, {"alpha": 1.0, "n_rounds": "inf"}, {"alpha": "optimal", "n_rounds": 1}):
        assert fitted(**options).distilled_ is False
    assert fitted(n_rounds="inf").distilled_ is fitted().distilled_ is True
    assert fitted(lam=3.0, alpha="optimal", clip=False).distilled_  # an alpha above 1 is another fit


def test_it_can_be_pickled_and_fitted_again_otherwise() -> None:
    model = fitted()
    close(rounds(pickle.loads(pickle.dumps(model))), rounds(model))
    model.set_params(solver="cholesky").fit(X, Y)
    assert model.eigenvalues_ is model.shrinkage_ is model.degrees_of_freedom_ is None
    with pytest.raises(ValueError, match="solver='eigen' or n_rounds='inf'"):
        model.limit_predict(X_NEW)


def test_negative_alpha_has_no_limit() -> None:
    model = fitted(alpha=-0.2, clip=False)
    with pytest.raises(ValueError, match=r"an alpha of 0 or more \(the last one is -0.2\)"):
        model.limit_predict(X_NEW)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lam": 0.0}, "lam is 0.0: the ridge must be a positive number"),
        ({"lam": -1}, "the ridge must be a positive number"),
        ({"lam": float("nan")}, "the ridge must be a positive number"),
        ({"alpha": 1.2}, r"alpha is 1.2: the weight of the ground truth goes from 0 to 1 \(clip=False"),
        ({"alpha": [1, -0.1, 0, 0]}, "alpha is -0.1: the weight of the ground truth"),
        ({"alpha": float("nan"), "clip": False}, "alpha is nan"),
        ({"alpha": "best"}, "alpha is 'best': it must be a number, a sequence of numbers or 'optimal'"),
        ({"alpha": None}, "alpha is None: it must be a number, a sequence of numbers or 'optimal'"),
        ({"alpha": [0.1, "x"]}, "alpha is .*: it must be a number, a sequence of numbers or 'optimal'"),
        ({"alpha": np.ones((4, 1))}, "it must be a number, a sequence of numbers or 'optimal'"),
        ({"alpha": [True] * 4}, "it must be a number, a sequence of numbers or 'optimal'"),
        ({"kernel": "gauss"}, "kernel is 'gauss': it must be a function of two samples or one of .*rbf"),
        ({"alpha": [0.1, 0.2]}, "alpha holds 2 numbers and n_rounds is 4: give one number a round"),
        ({"alpha": "optimal", "n_rounds": "inf"}, "n_rounds='inf' needs one alpha"),
        ({"alpha": -0.1, "clip": False, "n_rounds": "inf"}, "alpha is -0.1"),
        ({"n_rounds": 0}, "n_rounds is 0: it must be at least 1, 'best' or 'inf'"),
        ({"n_rounds": 2.5}, "n_rounds is 2.5"),
        ({"validation_fraction": 1.0}, "validation_fraction is 1.0: it must lie between 0 and 1, or be 'loo'"),
        ({"solver": "qr"}, "solver is 'qr': it must be one of 'auto', 'eigen', 'cholesky'"),
        ({"alpha": "optimal", "validation_fraction": "loo", "solver": "cholesky"}, "needs the hat matrix"),
        ({"n_components": 0}, "n_components is 0"),
        ({"n_components": 3, "kernel": "precomputed"}, "it needs kernel= by name"),
        ({"kernel": "precomputed"}, r"wants the square kernel matrix; X is \(40, 3\)"),
        ({"backend": "jax"}, "backend is 'jax': it must be 'numpy' or 'torch'"),
        ({"device": "cpu"}, "device='cpu' needs backend='torch'"),
        ({"kernel": lambda a, b: -float(a @ b)}, "is not positive semidefinite: its smallest eigenvalue is"),
        ({"kernel": lambda a, b: -float(a @ b), "solver": "cholesky"}, "is not positive semidefinite"),
        ({"kernel": lambda a, b: float("nan")}, "the kernel holds NaN or infinite values"),
    ],
)
def test_what_cannot_be_is_said(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fitted(**options)


@pytest.mark.parametrize("options", [{}, {"solver": "cholesky"}, {"backend": "torch", "solver": "cholesky"}])
@pytest.mark.parametrize("lam", [2.5, 4.0])
@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_an_indefinite_kernel_does_not_explode(alpha: float, lam: float, options: dict[str, Any]) -> None:
    """M + λ I is positive, but a round multiplies by D/(D + λ), here −11.5 and −1.35."""
    smallest = np.linalg.eigvalsh(sigmoid_kernel(X, gamma=1 / 3))[0]
    assert -lam < smallest < -lam / 2
    with pytest.raises(ValueError, match=r"the kernel is not positive semidefinite: its (smallest|fitted)"):
        fitted(kernel="sigmoid", gamma=None, lam=lam, alpha=alpha, n_rounds=60, **options)


def test_a_kernel_that_only_rounding_makes_indefinite_is_taken() -> None:
    gram = rbf_kernel(X, gamma=0.01).astype(np.float32).astype(float)
    assert np.linalg.eigvalsh(gram)[0] < 0
    for solver in ("eigen", "cholesky"):
        assert np.isfinite(fitted(gram, kernel="precomputed", lam=1e-4, solver=solver).predict(gram)).all()
    with pytest.raises(ValueError, match="a larger lam where only rounding"):
        fitted(gram - 1e-7 * np.eye(40), kernel="precomputed", lam=1.5e-7)


def test_too_few_validation_samples_are_named() -> None:
    with pytest.raises(ValueError, match=r"validation_fraction=0\.2 of n_samples=5 gives 1"):
        fitted(X[:5], Y[:5], alpha="optimal")
    with pytest.raises(ValueError, match="X_val holds 1 sample: at least 2"):
        fitted(alpha="optimal", held={"X_val": X_NEW[:1], "y_val": Y_NEW[:1]})
    with pytest.raises(ValueError, match="belong together"):
        fitted(held={"X_val": X_NEW})
    train, _ = train_test_split(np.arange(40), test_size=8, random_state=0)
    with pytest.raises(ValueError, match="every validation sample has weight 0"):
        fitted(alpha="optimal", weights=np.isin(np.arange(40), train).astype(float))


def test_torchs_default_device_is_the_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert SelfDistilledKernelRidge(backend="torch")._torch_device() == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert SelfDistilledKernelRidge(backend="torch")._torch_device() == "cuda"
