"""What a step of normalised logistic descent costs beside a plain one, on one core and, where there is one, a GPU."""

import time
import warnings
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from sklearn.exceptions import ConvergenceWarning

from normkit.estimators import NormalizedLogisticRegression
from normkit.papers import Context, Ledger, Records, Show

__all__ = ["judge_step_cost", "step_cost"]

FEW, MANY = 5, 25
"""Steps of two fits; the difference of their times is that of the steps between, without the reading of the samples."""


def step_cost(ctx: Context) -> list[dict[str, Any]]:
    """Seconds a step of both, taken in turns, on samples that nothing separates; float32, 1000 features."""
    n, d, rounds = ctx.pick(smoke=(200, 10, 1), embedded=(20_000, 1000, 9), full=(1_000_000, 1000, 9))
    draw = np.random.default_rng(ctx.seed)
    X = draw.standard_normal((n, d), dtype=np.float32)
    X[1] = X[0]  # with two labels: no hyperplane will end a fit early
    y = np.append([0, 1], draw.integers(2, size=n - 2))
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    records = []
    for device in devices:
        for index in range(rounds):
            methods = ("plain", "normalized")[:: 1 if index % 2 else -1]
            seconds = {method: _seconds_a_step(X, y, method, device) for method in methods}
            records.append({"device": device, "n": n, "d": d, **seconds})
    return records


def _seconds_a_step(X: ndarray, y: ndarray, method: str, device: str) -> float:
    # One thread's own time where one computes; a GPU's steps end on the processor, which asks whether all is right.
    clock = time.thread_time if device == "cpu" else time.perf_counter
    few, many = (_seconds(clock, X, y, method, steps, device) for steps in (FEW, MANY))
    return (many - few) / (MANY - FEW)


def _seconds(clock: Callable[[], float], X: ndarray, y: ndarray, method: str, steps: int, device: str) -> float:
    model = NormalizedLogisticRegression(10.0, method, max_iter=steps, device=None if device == "cpu" else device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        start = clock()
        model.fit(X, y)
        return clock() - start


def judge_step_cost(records: Records, claim: Ledger, show: Show) -> None:
    """The ratio of a step's time to the plain one's, median over rounds."""
    rows = []
    for device in ("cpu", "cuda"):
        found = records.where(device=device)
        where = "on one core" if device == "cpu" else "on a GPU"
        ratio = median(r["normalized"] / r["plain"] for r in found) if found else None
        claim(
            f"time of a normalised step over that of a plain one {where}, float32, 1000 features",
            ratio,
            at_most=1.1,
            n=len(found) or None,
            source="section 6: the same two products with the samples",
            reason=None if found else "needs a GPU",
        )
        if found:
            rates = [1 / median(found.values(method)) for method in ("plain", "normalized")]
            rows.append([device, found[0]["n"], found[0]["d"], *rates, ratio])
    headers = ["device", "samples", "features", "plain, steps/s", "normalised, steps/s", "time ratio"]
    show.table(headers, rows, caption="Steps a second, median of rounds taken in turns")
