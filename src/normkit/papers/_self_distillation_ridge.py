"""Self-distilled kernel ridge regression on small data: what the runs of the paper measure, and their peers' way."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.datasets import load_diabetes
from sklearn.kernel_ridge import KernelRidge

from normkit import data
from normkit.estimators import SelfDistilledKernelClassifier, SelfDistilledKernelRidge

__all__ = ["NoisyDigits", "diabetes", "exactness", "noisy_digits", "ridge_by_rounds", "toy_rounds"]

GRID = tuple(np.linspace(0, 1, 11).tolist())

_TOY_Y = (  # the authors' draw of a sine with noise at 0, 0.1 … 1
    0.38476636,
    1.23339677,
    1.33232242,
    0.69201595,
    -0.29756146,
    -0.24189292,
    -0.79644858,
    -0.96164802,
    -0.4967251,
    -0.3469066,
    0.55895127,
)


def toy_rounds(alpha: float) -> list[float]:
    """Mean squared error to sin 2πx on 101 points, after rounds 1 to 6 and in the limit."""
    x, grid = np.linspace(0, 1, 11)[:, None], np.linspace(0, 1, 101)[:, None]
    model = SelfDistilledKernelRidge(gamma=80.0, lam=0.2, alpha=alpha, n_rounds=6).fit(x, np.array(_TOY_Y))
    rounds = [*model.staged_predict(grid), model.limit_predict(grid)]
    return [float(np.square(each - np.sin(2 * np.pi * grid[:, 0])).mean()) for each in rounds]


def diabetes(seed: int, rounds: int = 6) -> dict[str, Any]:
    """Test errors by round with the best α, with α = 0, and of the grid's best on the validation data."""
    X, y = load_diabetes(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(y))
    train, val, test = order[:200], order[200:300], order[300:]
    X, y = ((each - each[train].mean(axis=0)) / each[train].std(axis=0) for each in (X, y))
    options: dict[str, Any] = {"gamma": 0.02, "lam": 0.05, "n_rounds": rounds}
    held = {"X_val": X[val], "y_val": y[val]}

    def errors(alpha: float | str) -> tuple[SelfDistilledKernelRidge, list[float]]:
        model = SelfDistilledKernelRidge(alpha=alpha, **options).fit(X[train], y[train], **held)
        return model, [float(np.square(each - y[test]).mean()) for each in model.staged_predict(X[test])]

    found, best = errors("optimal")
    grid = [errors(alpha) for alpha in GRID]
    _, chosen = min(
        (loss, error) for model, tests in grid for loss, error in zip(model.val_losses_, tests, strict=True)
    )
    return {"best": best, "teacher": grid[0][1], "grid": chosen, "alphas": found.alphas_.tolist()}


@dataclass(frozen=True)
class NoisyDigits:
    """Digits (n, 64) in 0…1: training and validation labels are noisy, those of the test are not."""

    train: tuple[NDArray[Any], NDArray[Any]]
    val: tuple[NDArray[Any], NDArray[Any]]
    test: tuple[NDArray[Any], NDArray[Any]]

    gamma = 0.3
    ridge = 0.3

    def distilled(self, alpha: float | str, rounds: int = 8, lam: float | None = None) -> SelfDistilledKernelClassifier:
        """A classifier with all rounds, judged on the validation data."""
        model = SelfDistilledKernelClassifier(
            gamma=self.gamma, lam=lam or self.ridge, alpha=alpha, n_rounds=rounds, solver="cholesky"
        )
        return model.fit(*self.train, X_val=self.val[0], y_val=self.val[1])

    def accuracies(self, model: SelfDistilledKernelClassifier) -> list[float]:
        """On the clean test set, by round, in percent."""
        x, y = self.test
        return [100 * float((predicted == y).mean()) for predicted in model.staged_predict(x)]

    def tuned(self, values: int) -> float:
        """Test accuracy of one round whose λ, of so many from 0.03 to 300, is best on the validation data."""
        models = [self.distilled(1.0, 1, lam) for lam in np.geomspace(0.03, 300, values).tolist()]
        return self.accuracies(min(models, key=lambda model: model.val_losses_[0]))[0]


def noisy_digits(seed: int, noise: float = 0.3, train: int = 900, val: int = 300) -> NoisyDigits:
    """The embedded digits, split by `seed`; a share `noise` of the labels is replaced by a class drawn at random."""
    x_seen, y_seen, x_test, y_test = (each.numpy() for each in data.digits("unit", split_seed=seed, train=train + val))
    x_seen, x_test = (each.reshape(len(each), -1).astype(np.float64) for each in (x_seen, x_test))
    generator = np.random.default_rng([seed, 1])
    replaced = generator.random(len(y_seen)) < noise
    y_seen = np.where(replaced, generator.integers(0, 10, len(y_seen)), y_seen)
    return NoisyDigits((x_seen[:train], y_seen[:train]), (x_seen[train:], y_seen[train:]), (x_test, y_test))


def ridge_by_rounds(digits: NoisyDigits, alphas: tuple[float, ...], rounds: int) -> float:
    """The grid as one does it without the closed form: `KernelRidge` fitted for every α and round.

    Returns the smallest validation loss.
    """
    (x, labels), (x_val, labels_val) = digits.train, digits.val
    y, y_val = np.eye(10)[labels] - 0.1, np.eye(10)[labels_val] - 0.1
    losses = []
    for alpha in alphas:
        teacher = y
        for _ in range(rounds):
            model = KernelRidge(alpha=digits.ridge, kernel="rbf", gamma=digits.gamma)
            model.fit(x, alpha * y + (1 - alpha) * teacher)
            teacher = model.predict(x)
            losses.append(float(np.square(model.predict(x_val) - y_val).mean()))
    return min(losses)


def exactness(seed: int, draws: int) -> dict[str, float]:
    """On random data: what a search over α finds beyond α*, how far the limit is off, and how fast it is approached."""
    generator = np.random.default_rng(seed)
    gaps = list(_exactness_of_draws(generator, draws))
    return {name: max(gap[name] for gap in gaps) for name in gaps[0]}


def _exactness_of_draws(generator: np.random.Generator, draws: int) -> Iterator[dict[str, float]]:
    for _ in range(draws):
        X, X_val = generator.normal(size=(40, 3)), generator.normal(size=(25, 3))
        y, y_val = (np.sin(each.sum(axis=1)) + 0.5 * generator.normal(size=len(each)) for each in (X, X_val))
        yield _search_gap(X, y, X_val, y_val) | _limit_gaps(X, y, float(generator.uniform(0.05, 0.95)))


def _search_gap(X: Any, y: Any, X_val: Any, y_val: Any) -> dict[str, float]:
    """Loss at α* less the smallest that golden-section search finds by fitting anew for each α, rounds 2 and 3."""
    held = {"X_val": X_val, "y_val": y_val}
    model = SelfDistilledKernelRidge(lam=0.05, clip=False, n_rounds=3).fit(X, y, **held)

    def loss(alpha: float, before: list[float]) -> float:
        fresh = SelfDistilledKernelRidge(lam=0.05, clip=False, alpha=[*before, alpha], n_rounds=len(before) + 1)
        return float(fresh.fit(X, y, **held).val_losses_[-1])

    gaps = [
        model.val_losses_[index]
        - minimize_scalar(loss, bracket=(-1.0, 1.0), args=(model.alphas_[:index].tolist(),), method="golden").fun
        for index in (1, 2)
    ]
    return {"search": float(max(gaps))}


def _limit_gaps(X: Any, y: Any, alpha: float, lam: float = 0.05, rounds: int = 200) -> dict[str, float]:
    model = SelfDistilledKernelRidge(gamma=0.5, lam=lam, alpha=alpha, n_rounds=rounds).fit(X, y)
    plain = KernelRidge(alpha=lam / alpha, kernel="rbf", gamma=0.5).fit(X, y).predict(X)
    first = KernelRidge(alpha=lam, kernel="rbf", gamma=0.5).fit(X, y).predict(X)
    staged = np.stack(list(model.staged_predict(X)))
    distances = np.linalg.norm(staged - model.limit_predict(X), axis=1)
    seen = distances[distances > 1e-9]  # below, rounding decides
    factor = (1 - alpha) * model.eigenvalues_[-1] / (model.eigenvalues_[-1] + lam)
    return {
        "limit": float(np.abs(model.limit_predict(X) - plain).max()),
        "first": float(np.abs(staged[0] - first).max()),
        "rate": float((seen[1:] / seen[:-1]).max() / factor) if len(seen) > 1 else 0.0,
        "rounds": float(distances[-1] - factor ** (rounds - 1) * distances[0]),  # a small α closes in slowly
    }
