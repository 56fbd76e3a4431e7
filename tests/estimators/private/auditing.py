"""What an attacker sees: what estimators hold that were fitted to two neighbouring data sets, many times each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from normkit.estimators.private import release
from normkit.estimators.private.audit import epsilon_lower_bound, log_likelihood_ratio
from normkit.estimators.private.noise import add_noise

_STEPS = 2.0**20


@dataclass(frozen=True)
class Released:
    """What the estimator handed to the source of noise, and how much noise it asked for."""

    values: np.ndarray
    mechanism: str
    scale: float
    source: str


def released(fit: Callable[[], Any], monkeypatch: Any) -> tuple[Released, Any]:
    """The integers of one fit, caught on their way to the noise, and the fitted estimator."""
    caught: list[Released] = []

    def catch(values: np.ndarray, mechanism: str, scale: float, source: str, seed: Any = None) -> np.ndarray:
        caught.append(Released(values, mechanism, scale, source))
        return add_noise(values, mechanism, scale, source, seed)

    with monkeypatch.context() as patch:
        patch.setattr(release, "add_noise", catch)
        fitted = fit()
    assert len(caught) == 1, "a fit must release once"
    return caught[0], fitted


def attack(make: Callable[..., Any], delta: float, source: str, repeats: int) -> float:
    """ε from below, from what `repeats` estimators hold that were fitted to each of two neighbours at ε = 1.

    The neighbour lacks a row that lies far out, where it moves the most. The attacker knows both tables, so he can
    compute both sums, and takes the best test there is for the noise that the first release states.
    """
    rows, labels = np.array([[9.0], [0.3], [-1.2], [0.8]]), np.array(["a", "b", "a", "b"])
    tables = [(rows[start:], labels[start:]) for start in (0, 1)]
    options = {"delta": delta, "noise": source}
    one, two = (_held(make(**options, epsilon=1e6, insecure_seed=0).fit(*table)) for table in tables)
    scores = []
    for table in tables:
        fits = [make(**options, epsilon=1.0).fit(*table) for _ in range(repeats)]
        released, spend = np.stack([_held(each) for each in fits]), fits[0].spend_
        scores.append(log_likelihood_ratio(released, one, two, spend.mechanism, spend.scale * _STEPS))
    return epsilon_lower_bound(*scores, delta)


def _held(fitted: Any) -> np.ndarray:
    """The released sums that a fitted estimator holds, in steps of 2⁻²⁰."""
    sums = next(getattr(fitted, name) for name in fitted._summed() if getattr(fitted, name) is not None)
    return np.rint(sums.ravel() * _STEPS).astype(np.int64)
