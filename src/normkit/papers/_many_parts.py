"""A transcriptome: partial correlations of 2·10⁴ parts, of which the pairs above a cutoff are kept."""

import time
import tracemalloc
from typing import Any

import numpy as np
import torch

from normkit.estimators import PartialCorrelation
from normkit.papers import Context, Ledger, Records, Show

__all__ = ["judge_many_parts", "measure_many_parts"]


def measure_many_parts(ctx: Context) -> list[dict[str, Any]]:
    """Memory, time and pairs kept; on a GPU too where there is one."""
    draw = np.random.default_rng(ctx.seed)
    samples, parts = ctx.pick(smoke=(20, 200), embedded=(500, 20_000))
    X = np.exp(draw.normal(size=(samples, 20)) @ draw.normal(size=(20, parts)) / 4 + draw.normal(size=(samples, parts)))
    rows = []
    for backend, device in [("numpy", None), *([("torch", "cuda")] if torch.cuda.is_available() else [])]:
        tracemalloc.start()
        started = time.perf_counter()
        fitted = PartialCorrelation(shrinkage="basis", cutoff=0.02, backend=backend, device=device).fit(X)
        seconds = time.perf_counter() - started
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        kept = (fitted.partial_correlation_.nnz - parts) // 2
        share = peak / (8 * parts**2)
        rows.append({"device": device or "cpu", "parts": parts, "seconds": seconds, "share": share, "pairs": kept})
    return rows


def judge_many_parts(records: Records, claim: Ledger, show: Show) -> None:
    """The claims on memory and time, and a table of them with the pairs."""
    claim(
        "2·10⁴ parts, 500 samples, pairs above a cutoff: peak memory over that of one D × D matrix",
        records.mean("share", device="cpu"),
        at_most=0.25,
        source="size of a transcriptome; D × D doubles are 3.2 GB",
        n=records.seeds,
    )
    claim(
        "the same: pairs of |ρ| ≥ 0.02 that are kept, without which the memory would say nothing",
        records.mean("pairs", device="cpu"),
        at_least=1,
        source="of 199,990,000",
        n=records.seeds,
    )
    gpu = records.where(device="cuda")
    claim(
        "the same on a GPU: CPU time over GPU time",
        records.mean("seconds", device="cpu") / gpu.mean("seconds") if gpu else None,
        at_least=1,
        source="blocks of one matrix product",
        n=records.seeds if gpu else None,
        reason=None if gpu else "needs a GPU",
    )
    rows = [
        [row["device"], row["seconds"], row["share"] * 8 * row["parts"] ** 2 / 2**20, row["pairs"]] for row in records
    ]
    headers = ["device", "seconds", "peak MiB", "pairs kept"]
    show.table(headers, rows, caption="All pairs of 2·10⁴ parts, those of |ρ| ≥ 0.02 kept as a sparse matrix")
