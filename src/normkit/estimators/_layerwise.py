"""Least squares with weight decay over many features, as both stages of the layer-wise network need it.

    min over x of ½ Σ_i w_i (Φ_i x − y_i)² + ½ ξ ‖x‖²,  Σ w_i = 1

by Cholesky decomposition, or by gradient descent from x = 0. With fewer samples than features the same is computed in
the samples' coordinates, x = Φᵀ β with β = W^½ γ and (W^½ Φ Φᵀ W^½ + ξ I) γ = W^½ y; also step by step in the descent.

Source: Wang, Nichani, Lee 2024, arXiv:2311.13774, algorithm 1.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import sqrt
from typing import Any

from normkit.estimators._layerwise_algebra import Algebra

__all__ = ["DECAYS", "Descent", "Problem", "blocks", "by_features", "by_samples", "gradient_descent", "problem_of"]

DECAYS = tuple(10 ** (half / 2) for half in range(-12, 4))
"""ξ₁ from 10^−6 to 10^1.5 in half decades, from which validation chooses."""

_ENTRIES = 2**22
"""Entries of a block of features: 32 MiB in float64."""


@dataclass(frozen=True)
class Descent:
    """Gradient descent in place of the exact solution: steps, and their size; None is 1 / (λ_max + ξ)."""

    n_iter: int
    step_size: float | None = None


@dataclass(frozen=True)
class Problem:
    """(matrix + ξ I) x = right, for any ξ."""

    matrix: Any
    right: Any

    def minimum(self, decay: float, algebra: Algebra, descent: Descent | None = None) -> Any:
        """The solution, or the point to which gradient descent from 0 has come."""
        if descent is None:
            return algebra.solve(self.matrix, decay, self.right)
        return gradient_descent(self, decay, algebra.zeros(len(self.right)), descent)


@dataclass(frozen=True)
class Sample:
    """X, y and weights that sum to 1; the last of them, from `cut` on, are those that choose the decay."""

    X: Any
    y: Any
    weight: Any
    cut: int


@dataclass(frozen=True)
class Fitted:
    """ĝ as fitted: its coefficients, and the decay that was taken."""

    coefficients: Any
    decay: float


def blocks(rows: int, width: int) -> Iterator[slice]:
    """`rows` in slices, so that a block of `width` columns stays small."""
    size = max(1, _ENTRIES // max(width, 1))
    yield from (slice(start, min(start + size, rows)) for start in range(0, rows, size))


def problem_of(features: Callable[[Any], Any], X: Any, y: Any, weight: Any, width: int, algebra: Algebra) -> Problem:
    """Φᵀ W Φ and Φᵀ W y, block by block: Φ is never whole in memory, and ranks share the blocks."""
    matrix, right, root = algebra.zeros(width, width), algebra.zeros(width), weight**0.5
    for rows in algebra.own(blocks(len(X), width)):
        phi = features(X[rows]) * root[rows][:, None]
        matrix += phi.T @ phi  # of one array with itself: numpy then computes half of it
        right += phi.T @ (root[rows] * y[rows])
    return Problem(algebra.total(matrix), algebra.total(right))


def by_features(
    features: Callable[[Any], Any],
    sample: Sample,
    width: int,
    decay: float | str,
    algebra: Algebra,
    descent: Any,
    mix: Any = None,
) -> tuple[Any, float]:
    """x (width,) of the whole sample, and the decay, "auto" being chosen on the sample's last part.

    With `mix`, R, the features are those given times Rᵀ.
    """
    fit, rest = slice(sample.cut), slice(sample.cut, None)
    parts = [
        problem_of(features, sample.X[part], sample.y[part], sample.weight[part], width, algebra)
        for part in (fit, rest)
    ]
    if mix is not None:
        parts = [Problem(mix @ part.matrix @ mix.T, mix @ part.right) for part in parts]
    if isinstance(decay, str):
        share = float(sample.weight[fit].sum())  # the trial's weights sum to that: as if to 1, with so much less decay
        every = algebra.columns([parts[0].minimum(each * share, algebra) for each in DECAYS])
        every = every if mix is None else mix.T @ every
        held = sample.X[rest]
        guesses = algebra.rows([features(held[rows]) @ every for rows in blocks(len(held), width)])
        decay = _best(guesses, sample)
    matrix = parts[0].matrix
    matrix += parts[1].matrix  # in place: these are the largest arrays there are
    whole = Problem(matrix, parts[0].right + parts[1].right)
    return whole.minimum(decay, algebra, descent), decay


def by_samples(
    kernel: Any, sample: Sample, decay: float | str, algebra: Algebra, descent: Any, center: bool = False
) -> tuple[Any, float]:
    """β (samples,) with x = Φᵀ β for the kernel Φ Φᵀ of the whole sample, and the decay.

    With `center` the features are Φ − Φ̄, Φ̄ their weighted mean; β then still belongs to Φ.
    """
    root, cut = sample.weight**0.5, sample.cut
    if center:
        mean = kernel @ sample.weight
        kernel = kernel - mean - mean[:, None] + sample.weight @ mean
    matrix = kernel * root
    matrix *= root[:, None]
    whole = Problem(matrix, root * sample.y)
    if isinstance(decay, str):
        share = float(sample.weight[:cut].sum())
        trial = Problem(whole.matrix[:cut, :cut], whole.right[:cut])
        every = algebra.columns([trial.minimum(each * share, algebra) for each in DECAYS])
        guesses = kernel[cut:, :cut] @ (every * root[:cut][:, None])
        decay = _best(guesses, sample)
    beta = root * whole.minimum(decay, algebra, descent)
    return beta - sample.weight * beta.sum() if center else beta, decay


def centred(features: Callable[[Any], Any], sample: Sample, width: int, center: bool) -> Callable[[Any], Any]:
    """The features minus their weighted mean over the sample, if they are to be centred."""
    if not center:
        return features
    mean = sum(sample.weight[rows] @ features(sample.X[rows]) for rows in blocks(len(sample.X), width))
    return lambda X: features(X) - mean


def _best(guesses: Any, sample: Sample) -> float:
    """The decay whose column of guesses for the sample's last part has the least weighted square error."""
    y, weight = sample.y[sample.cut :], sample.weight[sample.cut :]
    errors = weight @ (guesses - y[:, None]) ** 2
    return DECAYS[int(errors.argmin())]


def gradient_descent(problem: Problem, decay: float, start: Any, descent: Descent) -> Any:
    """x ← x − η (M x − r + ξ x), `n_iter` times: the gradient of half the mean square and half the decay.

    Raises:
        ValueError: the step size is not below 2 / (λ_max + ξ), from where the iteration diverges.
    """
    largest = _largest_eigenvalue(problem.matrix) + decay
    step = 1 / largest if descent.step_size is None else descent.step_size
    if not 0 < step < 2 / largest:
        raise ValueError(
            f"step_size is {step:.4g}: it must lie between 0 and 2/(λ_max + weight_decay) = {2 / largest:.4g} here, or "
            "gradient descent diverges; None takes half of that"
        )
    x = start
    for _ in range(descent.n_iter):
        x = x - step * (problem.matrix @ x - problem.right + decay * x)
    return x


def _largest_eigenvalue(matrix: Any, n_iter: int = 100) -> float:
    """λ_max of a positive semidefinite matrix by power iteration; 0 is taken for 1, as no step moves then."""
    x, value = matrix.diagonal() + matrix[0], 0.0
    for _ in range(n_iter):
        norm = sqrt(float(x @ x))
        if norm == 0:
            break
        x = matrix @ (x / norm)
        value = sqrt(float(x @ x))
    return value or 1.0
