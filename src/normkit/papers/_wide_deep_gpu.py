"""Ten thousand queries of the infinite-depth classifier over a hundred thousand points, on a GPU where there is one."""

import time
from typing import Any

import numpy as np
import torch

from normkit.estimators import InfiniteNetClassifier
from normkit.papers import Context, Ledger, Records
from normkit.papers._wide_deep_risk import noisy_sphere

__all__ = ["gpu_queries", "judge_gpu", "seconds_of_queries"]


def gpu_queries(ctx: Context) -> list[dict[str, Any]]:
    """Seconds of all queries; nothing where there is no GPU."""
    if not torch.cuda.is_available():
        return []
    return [{"seconds": seconds_of_queries("cuda", 10**5, 10**4, ctx.seed)}]


def seconds_of_queries(device: str, points: int, queries: int, seed: int) -> float:
    """Wall time of `predict`, after a few queries that start the device; the answers are back on the CPU by then."""
    draw = np.random.default_rng(seed)
    x, p = noisy_sphere(draw, points, 2)
    asked, _ = noisy_sphere(draw, queries, 2)
    y = (draw.random(points) < p).astype(int)
    model = InfiniteNetClassifier(preprocess=False, backend="torch", device=device).fit(x, y)
    model.predict(asked[:100])
    start = time.perf_counter()
    model.predict(asked)
    return time.perf_counter() - start


def judge_gpu(records: Records, claim: Ledger) -> None:
    """A minute at most."""
    runs = records.where(run="gpu_queries")
    claim(
        "10⁵ points × 10⁴ queries on one GPU, seconds",
        runs.mean("seconds") if runs else None,
        at_most=60,
        source="this project's bar",
        reason=None if runs else "needs a GPU: scale full",
    )
