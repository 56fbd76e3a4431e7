"""The steps that look for a separating hyperplane, on numpy arrays, scipy's sparse matrices or torch tensors.

With margins m = y · (A θ), sample weights c and the sigmoid weights s_i = 1/(1 + e^{m_i}) every method is

    θ ← θ + Aᵀ (w · y)

and differs by w alone. Columns of θ are problems of their own, side by side.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special
from torch import Tensor
from torch.nn import functional as F

__all__ = ["METHODS", "Weights", "log_sigmoid"]

Array = Any
"""A numpy array or a torch tensor; both know the operators that stand here."""

Weights = Callable[[Array, Array, float, int], Array]
"""(margins, sample weights as a column, step size, number of steps made) → w."""


def log_sigmoid(margins: Array) -> Array:
    """log 1/(1 + e^{−m}), without overflow."""
    return F.logsigmoid(margins) if isinstance(margins, Tensor) else special.log_expit(margins)


def _normalized(margins: Array, count: Array, step_size: float, steps: int) -> Array:
    """γ c s / Σ c s: of logarithms, for s itself underflows once all is separated, and its sum with it."""
    logits = log_sigmoid(-margins) + _log(count)
    return step_size * (logits.softmax(0) if isinstance(logits, Tensor) else special.softmax(logits, axis=0))


def _plain(margins: Array, count: Array, step_size: float, steps: int) -> Array:
    """γ c s / Σ c."""
    sigmoid = (-margins).sigmoid() if isinstance(margins, Tensor) else special.expit(-margins)
    return step_size * sigmoid * count / count.sum()


def _batch_perceptron(margins: Array, count: Array, step_size: float, steps: int) -> Array:
    """c / Σ c of the wrong samples; in the first step half of it, of all."""
    return (0.5 * count if steps == 0 else _wrong(margins, count)) / count.sum() + 0 * margins


def _normalized_batch_perceptron(margins: Array, count: Array, step_size: float, steps: int) -> Array:
    wrong = _wrong(margins, count)
    total = wrong.sum(0)
    return wrong / (total + (total == 0))


def _perceptron(margins: Array, count: Array, step_size: float, steps: int) -> Array:
    """1 for the first sample that is wrong."""
    wrong = _wrong(margins, count) > 0
    before = wrong.cumsum(0)
    return (wrong & (before == 1)) * (0 * margins + 1)


def _wrong(margins: Array, count: Array) -> Array:
    return count * (margins <= 0)


def _log(count: Array) -> Array:
    return count.log() if isinstance(count, Tensor) else np.log(count)


METHODS: dict[str, Weights] = {
    "normalized": _normalized,
    "plain": _plain,
    "perceptron": _perceptron,
    "batch_perceptron": _batch_perceptron,
    "normalized_batch_perceptron": _normalized_batch_perceptron,
}
