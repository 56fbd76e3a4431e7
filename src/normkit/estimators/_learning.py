"""One fit of a self-distilled kernel machine: split, factorize, distil, and fit again on all samples."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from normkit.estimators._distillation import Held, LeftOut, Rounds, distill
from normkit.estimators._kernel_map import KernelValues, NystroemFeatures
from normkit.estimators._ridge import Array, Factored, Spectral, factored, spectral

__all__ = ["MOST_ROUNDS", "Learned", "Samples", "Settings", "learn"]

MOST_ROUNDS = 100
"""Where the validation loss decides how many: rounds converge long before."""

EIGEN_SAMPLES = 2000
"""Up to here an eigendecomposition takes seconds and is taken unasked; a Cholesky factor costs several times less."""

WORTH = 1e-4
"""A round that improves the validation loss by less than this share is not worth having."""


@dataclass(frozen=True)
class Settings:
    """What the estimator was asked for, in the terms of the fit.

    `alphas` has one entry a round, or is None where each is to be found; `rounds` is a number, "best" or "inf".
    """

    kernel: Any
    parameters: dict[str, Any]
    ridge: float
    alphas: tuple[float, ...] | None
    constant: float | None
    rounds: int | str
    clip: bool
    validation: float | str
    eigen: bool | None
    n_components: int | None
    device: str | None
    random_state: Any

    @property
    def judged(self) -> bool:
        """Whether validation data decide anything."""
        return self.alphas is None or self.rounds == "best"


@dataclass(frozen=True)
class Samples:
    """Samples with targets (n, c) and the roots of their weights, or None where all weigh alike."""

    X: Any
    targets: Array
    root: Array | None = None

    @property
    def weighted(self) -> Array:
        """√w y."""
        return self.targets if self.root is None else self.targets * self.root[:, None]

    @property
    def weight(self) -> float:
        """The sum of the weights."""
        return float(len(self.targets) if self.root is None else np.square(self.root).sum())

    def part(self, rows: NDArray[Any], columns: NDArray[Any] | None = None) -> "Samples":
        """Some of the samples; with `columns`, of a precomputed kernel with those samples."""
        X = self.X[rows] if columns is None else self.X[np.ix_(rows, columns)]
        return Samples(X, self.targets[rows], None if self.root is None else self.root[rows])


@dataclass(frozen=True)
class Learned:
    """What a fit leaves: the map of new samples, coefficients by round (rounds, n, c), and those of the limit.

    `limit` is None where it was not computed or does not exist; `eigenvalues` and `shrinkage` (rounds, n) are None
    without an eigendecomposition. `wanted` are the α that were looked for, before they were clipped.
    """

    map: KernelValues | NystroemFeatures
    coefficients: Array
    limit: Array | None
    alphas: Array
    losses: Array | None
    eigenvalues: Array | None
    shrinkage: Array | None
    wanted: tuple[float, ...] = ()


def learn(samples: Samples, settings: Settings, held: Samples | None, strata: Any) -> Learned:
    """Fit, with `held` as validation data where they are given, else with what `settings.validation` says.

    Where a part of the samples was set aside to find α or the number of rounds, these are kept and the final fit takes
    all samples. `strata` are classes that the split keeps in proportion, or None.
    """
    if settings.rounds == "inf":
        return _Machine(samples, settings).limit(held)
    if held is not None or not settings.judged or settings.validation == "loo":
        return _Machine(samples, settings).rounds(held)
    part, held = _split(samples, settings, strata)
    found = _Machine(part, settings).rounds(held)
    chosen = replace(settings, alphas=tuple(found.alphas), rounds=len(found.alphas), validation=0.0)
    final = _Machine(samples, chosen).rounds(None)
    return replace(final, losses=found.losses, wanted=found.wanted)


class _Machine:
    """A factorized system over a map of the samples."""

    def __init__(self, samples: Samples, settings: Settings) -> None:
        self.samples, self.settings = samples, settings
        X, root = samples.X, samples.root
        self.map: KernelValues | NystroemFeatures
        self.system: Spectral | Factored
        ridge = settings.ridge / (self._limit_share() or 1.0)
        if settings.n_components is not None:
            width = min(settings.n_components, X.shape[0])
            self.map = NystroemFeatures(X, settings.kernel, settings.parameters, width, settings.random_state)
            gram, products = self.map.moments(X, samples.weighted, root)
            self.system = spectral(gram, ridge, settings.device)
            self.targets = self.system.targets(products)
            return
        self.map = KernelValues(X, settings.kernel, settings.parameters)
        factorize = spectral if self._eigen() else factored
        self.system = factorize(self.map.gram(X, root), ridge, settings.device)
        self.targets = self.system.targets(samples.weighted)

    def rounds(self, held: Samples | None) -> Learned:
        """All rounds that were asked for, or the best of them."""
        settings, best = self.settings, self.settings.rounds == "best"
        count = settings.rounds if isinstance(settings.rounds, int) else len(settings.alphas or ()) or MOST_ROUNDS
        judge: Held | LeftOut | None = None
        if held is not None:
            judge = self._held(held)
        elif settings.judged:
            judge = self._left_out()
        stop = _not_worth_it if best else _never
        found = distill(self.system, self.targets, count, settings.alphas, clip=settings.clip, judge=judge, stop=stop)
        if best and found.losses is not None:
            kept = int(np.argmin(found.losses)) + 1
            found = Rounds(found.alphas[:kept], found.solutions[:kept], found.losses[:kept], found.wanted)
        share = settings.constant if settings.constant is not None else found.alphas[-1]
        return self._learned(found, self._limit(share))

    def limit(self, held: Samples | None) -> Learned:
        """The solution after infinitely many rounds alone."""
        assert self.settings.alphas is not None
        share = self.settings.alphas[0]
        if share == 0:
            solution = self.system.solve(np.zeros_like(self.targets), np.zeros(len(self.targets)))
        else:
            solution = self.system.solve(self.targets)
        losses = None if held is None else [self._held(held).loss(solution)]
        return self._learned(Rounds([share], [solution], losses), self._coefficients(solution.coefficients))

    def _limit_share(self) -> float:
        """α where only the limit is wanted, which is the ridge λ/α itself; else 0."""
        settings = self.settings
        return settings.alphas[0] if settings.rounds == "inf" and settings.alphas else 0.0

    def _eigen(self) -> bool:
        settings = self.settings
        if settings.eigen is not None:
            return settings.eigen
        left_out = settings.judged and settings.validation == "loo"
        return left_out or self.samples.X.shape[0] <= EIGEN_SAMPLES

    def _limit(self, share: float) -> Array | None:
        if share < 0 or not isinstance(self.system, Spectral):
            return None
        if share == 0:
            return np.zeros_like(self._coefficients(self.targets))
        return self._coefficients(self.system.with_ridge(self.settings.ridge / share).solve(self.targets).coefficients)

    def _coefficients(self, solution: Array) -> Array:
        """As they are multiplied by the map of a new sample."""
        found, root = self.system.to_samples(solution), self.samples.root
        return found if root is None or isinstance(self.map, NystroemFeatures) else found * root[:, None]

    def _held(self, held: Samples) -> Held:
        if held.weight == 0:
            raise ValueError("every validation sample has weight 0: none is left to judge by")
        rows, root = self.map(held.X), self.samples.root
        if root is not None and isinstance(self.map, KernelValues):
            rows = rows * root
        if held.root is not None:
            rows = rows * held.root[:, None]
        return Held(self.system.in_basis(rows), held.weighted, held.weight)

    def _left_out(self) -> LeftOut:
        system, samples = self.system, self.samples
        assert isinstance(system, Spectral)
        if isinstance(self.map, KernelValues):
            rows, leverages = system.eigenvectors * system.eigenvalues, np.square(system.eigenvectors)
        else:
            rows = system.in_basis(self.map(samples.X) * (1.0 if samples.root is None else samples.root[:, None]))
            squares = np.square(rows)
            leverages = np.divide(squares, system.eigenvalues, out=squares, where=system.eigenvalues > 0)
        return LeftOut(rows, samples.weighted, leverages, samples.weight)

    def _learned(self, found: Rounds, limit: Array | None) -> Learned:
        kept = [solution.shrinkage for solution in found.solutions]
        return Learned(
            self.map,
            np.stack([self._coefficients(solution.coefficients) for solution in found.solutions]),
            limit,
            np.array(found.alphas),
            None if found.losses is None else np.array(found.losses),
            self.system.eigenvalues if isinstance(self.system, Spectral) else None,
            None if kept[0] is None else np.stack([each for each in kept if each is not None]),
            tuple(found.wanted),
        )


def _split(samples: Samples, settings: Settings, strata: Any) -> tuple[Samples, Samples]:
    """Training and validation samples; classes in proportion where each of them can be on both sides."""
    count = samples.X.shape[0]
    held = int(np.ceil(float(settings.validation) * count))
    if held < 2 or count - held < 1:
        raise ValueError(
            f"alpha='optimal' and n_rounds='best' need at least 2 validation samples and 1 for training: "
            f"validation_fraction={settings.validation} of n_samples={count} gives {held}; give more samples, "
            "X_val and y_val, or validation_fraction='loo'"
        )
    if strata is not None:
        _, counts = np.unique(strata, return_counts=True)
        strata = strata if counts.min() >= 2 and min(held, count - held) >= len(counts) else None
    train, val = train_test_split(np.arange(count), test_size=held, random_state=settings.random_state, stratify=strata)
    if isinstance(settings.kernel, str) and settings.kernel == "precomputed":
        return samples.part(train, train), samples.part(val, train)
    return samples.part(train), samples.part(val)


def _not_worth_it(losses: Sequence[float]) -> bool:
    return len(losses) > 1 and losses[-1] > (1 - WORTH) * losses[-2]


def _never(losses: Sequence[float]) -> bool:
    return False
