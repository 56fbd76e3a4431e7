"""The rounds of self-distilled ridge regression, in the basis of a factorized system, and what judges them.

With A = K (K + λI)⁻¹ and y⁰ = y, round τ fits y^τ = A (α_τ y + (1 − α_τ) y^{τ−1}). It is affine in α, α f₁ + (1 − α) f₀
with f₁ the first round's fit and f₀ the fit on the last round's values alone. So a round costs one solution for f₀,
whatever α is, and the best α has a closed form.

Source: Borup and Andersen (2021), arXiv:2102.13088, on kernel ridge regression.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from normkit.estimators._ridge import Array, Factored, Solution, Spectral
from normkit.losses import optimal_alpha

__all__ = ["Held", "LeftOut", "Rounds", "distill"]


@dataclass
class Rounds:
    """What was found: α, the solution and the validation loss (None where nothing is held out) of each round.

    `wanted` is the best α before it was clipped, of each round whose α was looked for.
    """

    alphas: list[float] = field(default_factory=list)
    solutions: list[Solution] = field(default_factory=list)
    losses: list[float] | None = None
    wanted: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Held:
    """Held-out samples: `rows` (n, k) times coefficients are predictions of `targets` (n, c).

    Both carry the roots of the sample weights as factors; `weight` is the sum of the weights.
    """

    rows: Array
    targets: Array
    weight: float

    def predictions(self, solution: Solution) -> Array:
        """Of the held-out samples, times the roots of their weights."""
        return self.rows @ solution.coefficients

    def loss(self, solution: Solution) -> float:
        """Mean squared error over samples and outputs."""
        return _mean_square(self.targets - self.predictions(solution), self.weight)


@dataclass(frozen=True)
class LeftOut:
    """Each training sample as predicted without it, by the identity of ridge regression with the round's hat matrix.

    (y − ŷ) / (1 − H_ii), where H = V B Vᵀ. Exact for the first round and in the limit, which are plain ridge
    regressions; between the two it leaves the sample in the earlier rounds, and is an approximation.

    `rows` (n, k) times coefficients are the fitted values; `leverages` (n, k) times B are the H_ii.
    """

    rows: Array
    targets: Array
    leverages: Array
    weight: float

    def predictions(self, solution: Solution) -> Array:
        """Of each sample without it, times the root of its weight."""
        assert solution.shrinkage is not None
        kept = 1 - self.leverages @ solution.shrinkage
        return self.targets - (self.targets - self.rows @ solution.coefficients) / kept[:, None]

    def loss(self, solution: Solution) -> float:
        """Mean squared error over samples and outputs."""
        return _mean_square(self.targets - self.predictions(solution), self.weight)


def distill(
    system: Spectral | Factored,
    targets: Array,
    n_rounds: int,
    alphas: Sequence[float] | None,
    *,
    clip: bool = True,
    judge: Held | LeftOut | None = None,
    stop: Callable[[Sequence[float]], bool] = lambda losses: False,
) -> Rounds:
    """`n_rounds` rounds on `targets` (n, c, in the system's basis), fewer where `stop` says so of the losses so far.

    `alphas[τ − 1]` is the weight of the ground truth of round τ; None asks `judge` for the best one.
    """
    one = system.solve(targets)
    now, done = one, Rounds(losses=None if judge is None else [])
    for index in range(n_rounds):
        alpha = 1.0  # the first round's teacher is the ground truth
        if index:
            zero = system.solve(now.fitted, now.shrinkage)
            alpha = _best(judge, one, zero, clip, done.wanted) if alphas is None else alphas[index]
            now = one.mixed(zero, alpha)
        done.alphas.append(alpha)
        done.solutions.append(now)
        if judge is not None and done.losses is not None:
            done.losses.append(judge.loss(now))
            if stop(done.losses):
                break
    return done


def _best(judge: Held | LeftOut | None, one: Solution, zero: Solution, clip: bool, wanted: list[float]) -> float:
    """The best α; what it was before it was clipped is added to `wanted`."""
    assert judge is not None
    wanted.append(optimal_alpha(judge.predictions(one), judge.predictions(zero), judge.targets, clip=False))
    return min(1.0, max(0.0, wanted[-1])) if clip else wanted[-1]


def _mean_square(residuals: Array, weight: float) -> float:
    return float(np.square(residuals).sum() / (weight * residuals.shape[1]))
