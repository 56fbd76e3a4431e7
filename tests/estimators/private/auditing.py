"""What an attacker sees: the integers that an estimator releases on two neighbouring data sets, released many times."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import beta

from normkit.estimators.private import release
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


def epsilon_lower_bound(one: Released, two: Released, delta: float, repeats: int, noise: float = 1.0) -> float:
    """ε from below, but for two cases in a million: the best likelihood-ratio test between two neighbours.

    The threshold of the test is chosen on one half of the releases and judged on the other. `noise` multiplies the
    scale that the estimator asked for.
    """
    ratios = [_log_ratios(each, one, two, repeats, noise) for each in (one, two)]
    half = repeats // 2
    candidates = np.quantile(np.concatenate([ratio[:half] for ratio in ratios]), np.linspace(0.02, 0.98, 97))
    threshold = max(candidates, key=lambda t: _bound(*[ratio[:half] > t for ratio in ratios], delta))
    return _bound(*[ratio[half:] > threshold for ratio in ratios], delta)


def _log_ratios(drawn: Released, one: Released, two: Released, repeats: int, noise: float) -> np.ndarray:
    scale = drawn.scale * noise
    many = add_noise(np.tile(drawn.values, repeats), drawn.mechanism, scale, drawn.source)
    away = [np.abs(many.reshape(repeats, -1) - each.values) / scale for each in (one, two)]
    if drawn.mechanism == "gaussian":
        away = [each**2 / 2 for each in away]
    return (away[1] - away[0]).sum(axis=1)


def _bound(first: np.ndarray, second: np.ndarray, delta: float, confidence: float = 1 - 1e-6) -> float:
    """log((p₁ − δ)/p₂) with p₁ at its lower and p₂ at its upper Clopper–Pearson limit."""
    hits, misses = int(first.sum()), len(first) - int(first.sum())
    low = beta.ppf(1 - confidence, hits, misses + 1) if hits else 0.0
    hits, misses = int(second.sum()), len(second) - int(second.sum())
    high = beta.ppf(confidence, hits + 1, misses) if misses else 1.0
    return float(np.log((low - delta) / high)) if low > delta else -np.inf
