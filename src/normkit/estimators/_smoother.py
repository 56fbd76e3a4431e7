"""Σ_i w_i exp(log K(x, x_i)) / Σ_i exp(log K(x, x_i)) in blocks of queries and of training points.

log K depends on ξ = xᵀx_i alone and is read from a cubic spline over t = log δ/ξ, δ = 1 − ξ: at both ends log K is
close to a line in t. A block never holds more than a few million numbers, however many points and queries there are.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from scipy.interpolate import CubicSpline

__all__ = ["KernelTable", "smooth"]

_KNOTS, _LOW, _HIGH = 9000, math.log(1e-33), 46.0
_HIT = 1e6  # the logarithm that stands for a weight at δ = 0: no finite δ in float64 comes near it


@dataclass(frozen=True)
class KernelTable:
    """The coefficients of the spline on equal steps of t, highest power first, and log K at δ = 0."""

    coefficients: ndarray
    step: float
    hit: float

    @classmethod
    def of(cls, log_kernel: Callable[[ndarray, ndarray], ndarray]) -> "KernelTable":
        """Tabulate a function of (δ, ξ)."""
        t = np.linspace(_LOW, _HIGH, _KNOTS)
        delta, xi = 1 / (1 + np.exp(-t)), 1 / (1 + np.exp(t))
        with np.errstate(all="ignore"):
            at_zero = float(log_kernel(np.zeros(1), np.ones(1))[0])
        spline = CubicSpline(t, log_kernel(delta, xi))
        return cls(spline.c, float(t[1] - t[0]), at_zero if math.isfinite(at_zero) else _HIT)

    def __call__(self, delta: Any, xi: Any, xp: Any, coefficients: Any) -> Any:
        """log K at δ and ξ, arrays of `xp`, which is numpy or torch."""
        t = xp.log(xp.clip(delta, 1e-300, None)) - xp.log(xp.clip(xi, 1e-300, None))
        place = (xp.clip(t, _LOW, _HIGH) - _LOW) / self.step
        knot = xp.clip(xp.floor(place), 0, _KNOTS - 2)
        past = xp.clip(t, _LOW, None) - (_LOW + self.step * knot)  # in float64: torch makes integers float32
        index = knot.astype(np.intp) if xp is np else knot.long()
        cubic, square, slope, value = coefficients
        inside = value[index] + past * (slope[index] + past * (square[index] + past * cubic[index]))
        return xp.where(delta <= 0, self.hit, xp.where(xi <= 0, -math.inf, inside))


def smooth(
    table: KernelTable, queries: ndarray, points: ndarray, sums: ndarray, counts: ndarray, backend: str, device: Any
) -> ndarray:
    """Weighted class shares (queries, classes); NaN in the row of a query that no point weighs on."""
    xp: Any = np if backend == "numpy" else torch
    rows, columns = (64, 4096) if device is None else (1024, 8192)

    def given(array: ndarray) -> Any:
        return array if xp is np else torch.as_tensor(array, device=device)

    coefficients, x, y, w = (given(a) for a in (table.coefficients, points, sums, counts))
    found = []
    for first in range(0, len(queries), rows):
        found.append(_smooth_rows(table, given(queries[first : first + rows]), x, y, w, columns, xp, coefficients))
    return np.concatenate([block if xp is np else block.cpu().numpy() for block in found])


def _smooth_rows(table: KernelTable, q: Any, x: Any, y: Any, w: Any, columns: int, xp: Any, coefficients: Any) -> Any:
    """One block of queries: the largest logarithm so far is taken out as the sums go on."""
    top = total = shares = None
    for first in range(0, len(x), columns):
        part = slice(first, first + columns)
        xi = xp.clip(q @ x[part].T, 0.0, 1.0)
        delta = 1 - xi
        i, j = xp.where(delta < 1e-6)
        delta[i, j] = ((q[i] - x[part][j]) ** 2).sum(1) / 2
        logs = table(delta, xi, xp, coefficients)
        highest = xp.clip(xp.amax(logs, 1), -1e300, None)
        highest = highest if top is None else xp.maximum(highest, top)
        weights = xp.exp(logs - highest[:, None])
        new_total, new_shares = weights @ w[part], weights @ y[part]
        if top is not None:
            faded = xp.exp(top - highest)
            new_total, new_shares = new_total + faded * total, new_shares + faded[:, None] * shares
        top, total, shares = highest, new_total, new_shares
    empty = total == 0
    result = shares / xp.where(empty, 1.0, total)[:, None]
    result[empty] = math.nan
    return result
