"""A transcriptome: partial correlations of 2·10⁴ parts, of which the pairs above a cutoff are kept.

The parts depend on each other two by two, given twenty factors that all share. Where D ≫ N a shrunk ρ falls as 1/D, and
so does the cutoff: at the 0.02 of a smaller table nothing would be kept, and the memory would say nothing.
"""

import time
import tracemalloc
from typing import Any

import torch
from scipy import sparse

from normkit import data
from normkit.estimators import PartialCorrelation
from normkit.papers import Context, Ledger, Records, Show

__all__ = ["judge_many_parts", "measure_many_parts"]


def measure_many_parts(ctx: Context) -> list[dict[str, Any]]:
    """Memory, time and pairs kept; on a GPU too where there is one."""
    samples, parts = ctx.pick(smoke=(100, 50), embedded=(500, 20_000))
    cutoff = min(0.2, 200 / parts)
    X = data.paired_compositions(samples, parts, seed=ctx.seed)
    rows = []
    for backend, device in [("numpy", None), *([("torch", "cuda")] if torch.cuda.is_available() else [])]:
        tracemalloc.start()
        started = time.perf_counter()
        fitted = PartialCorrelation(shrinkage="basis", cutoff=cutoff, backend=backend, device=device).fit(X)
        seconds = time.perf_counter() - started
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        first, second = sparse.triu(fitted.partial_correlation_, 1).nonzero()
        rows.append(
            {
                "device": device or "cpu",
                "seconds": seconds,
                "mebibytes": peak / 2**20,
                "share": peak / (8 * parts**2),
                "pairs": len(first),
                "joined": int(((first % 2 == 0) & (second == first + 1)).sum()),
            }
        )
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
    pairs, joined = records.mean("pairs", device="cpu"), records.mean("joined", device="cpu")
    claim(
        "the same: pairs of |ρ| ≥ 0.01 that are kept, where 10,000 are joined",
        pairs,
        between=(9_000, 11_000),
        source="joined given twenty shared factors",
        n=records.seeds,
    )
    claim(
        "the same: share of the kept pairs that are joined",
        joined / max(pairs, 1),
        at_least=0.9,
        source="joined given twenty shared factors",
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
    rows = [[row[name] for name in ("device", "seconds", "mebibytes", "pairs", "joined")] for row in records]
    headers = ["device", "seconds", "peak MiB", "pairs kept", "of them joined"]
    show.table(headers, rows, caption="All pairs of 2·10⁴ parts, those of |ρ| ≥ 0.01 kept as a sparse matrix")
