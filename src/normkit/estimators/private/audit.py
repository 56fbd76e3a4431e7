"""A bound on ε from below, by an attacker who tells two neighbouring data sets apart.

    (ε, δ)-private: P(S | one) ≤ e^ε P(S | two) + δ for every event S, so ε ≥ log((P(S | one) − δ)/P(S | two)).

The event is that a score exceeds a threshold. The threshold is chosen on one half of the releases, the probabilities
are bounded by Clopper and Pearson's limits on the other, so the result exceeds the true ε almost never.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.stats import beta

__all__ = ["epsilon_lower_bound", "log_likelihood_ratio"]


def log_likelihood_ratio(
    released: Int[ndarray, "repeats size"],
    one: Int[ndarray, "size"],
    two: Int[ndarray, "size"],
    mechanism: str,
    scale: float,
) -> Float[ndarray, "repeats"]:
    """log p(release | one) − log p(release | two) for sums `one` and `two` with noise of `scale`: the best score."""
    away = [np.abs(released - sums) / scale for sums in (one, two)]
    if mechanism == "gaussian":
        away = [each**2 / 2 for each in away]
    return (away[1] - away[0]).sum(axis=1)


def epsilon_lower_bound(
    one: Float[ndarray, "repeats"], two: Float[ndarray, "others"], delta: float = 0.0, confidence: float = 1 - 1e-6
) -> float:
    """ε from below, from scores of releases of two neighbouring data sets; −∞ where nothing can be told apart.

    Args:
        one: scores of independent releases of one data set, larger where it is the more likely one.
        two: scores of releases of its neighbour.
        delta: δ of the claim.
        confidence: of each of the two limits.
    """
    choose = [scores[: len(scores) // 2] for scores in (one, two)]
    judge = [scores[len(scores) // 2 :] for scores in (one, two)]
    thresholds = np.quantile(np.concatenate(choose), np.linspace(0.02, 0.98, 97))
    best = max(thresholds, key=lambda t: _bound(choose[0] > t, choose[1] > t, delta, confidence))
    return _bound(judge[0] > best, judge[1] > best, delta, confidence)


def _bound(one: Bool[ndarray, "repeats"], two: Bool[ndarray, "others"], delta: float, confidence: float) -> float:
    hits, misses = int(one.sum()), int((~one).sum())
    low = float(beta.ppf(1 - confidence, hits, misses + 1)) if hits else 0.0
    hits, misses = int(two.sum()), int((~two).sum())
    high = float(beta.ppf(confidence, hits + 1, misses)) if misses else 1.0
    return float(np.log((low - delta) / high)) if low > delta else -np.inf
