"""What an attacker sees: the integers that an estimator releases on two neighbouring data sets, released many times."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from normkit.estimators.private import release
from normkit.estimators.private.audit import epsilon_lower_bound, log_likelihood_ratio
from normkit.estimators.private.noise import add_noise


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


def attack(one: Released, two: Released, delta: float, repeats: int, noise: float = 1.0) -> float:
    """ε from below, from `repeats` releases of each neighbour; `noise` multiplies the scale that was asked for."""
    scores = []
    for drawn in (one, two):
        scale = drawn.scale * noise
        many = add_noise(np.tile(drawn.values, repeats), drawn.mechanism, scale, drawn.source).reshape(repeats, -1)
        scores.append(log_likelihood_ratio(many, one.values, two.values, drawn.mechanism, scale))
    return epsilon_lower_bound(*scores, delta)
