"""`bench`: which suites, in which settings, on which device."""

import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch

from normkit.benchmarks._harness.machine import machine
from normkit.benchmarks._harness.record import Record
from normkit.benchmarks._harness.roof import cache_class
from normkit.benchmarks._harness.scene import Effort, time_scene
from normkit.benchmarks._harness.suite import Suite
from normkit.benchmarks._harness.table import Table
from normkit.listing import modules

__all__ = ["bench", "suites"]

_DEVICES = ("cpu", "cuda", "all")


def suites() -> list[Suite]:
    """Every suite, found by listing `normkit.benchmarks`: those that a person feels first."""
    found = [module.suite for module in modules("normkit.benchmarks") if hasattr(module, "suite")]
    return sorted(found, key=lambda suite: (suite.family != "step", suite.family, suite.op))


def bench(
    names: str | Iterable[str] | None = None,
    *,
    device: str = "cpu",
    quick: bool = False,
    out: str | Path | None = None,
    threads: Sequence[int] | None = None,
    compiled: bool = False,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Table:
    """Time operations against their peers and against the machine's copy speed, in interleaved rounds.

    First the user's view (the public function as it stands, all threads, forward and backward, fresh output; a step of
    a small GPT-2 and of a ResNet with and without normkit), then the kernels' view. Each variant is checked against
    float64 before it is timed; one that is wrong is not.

    Args:
        names: operations or families (`softmax`, `norm`, …); all by default.
        device: `cpu`, `cuda` or `all`. Without a GPU `cuda` gives records with status `skipped` and the reason.
        quick: few sizes and few rounds, for a first look.
        out: a folder for `bench.json`, the roofline and `report.html`.
        threads: thread counts of the kernels' view; one and all by default.
        compiled: time `torch.compile` of the first peer too (needs a compiler; slow to start).
        seed: of inputs, rounds and bootstrap.
        progress: called with one line of text before each setting.

    Returns:
        The table; iterate it for `Record`s, `to_dict()` is the JSON object.

    Raises:
        ValueError: an unknown name or device, or a thread count below one.
    """
    start = time.perf_counter()
    chosen = _chosen(names)
    if device not in _DEVICES:
        raise ValueError(f"device must be one of {', '.join(_DEVICES)}, got {device!r}")
    counts = _thread_counts(threads)
    records: list[Record] = []
    if device in ("cpu", "all"):
        records += _on_cpu(chosen, counts, quick, compiled, seed, progress or (lambda line: None))
    if device in ("cuda", "all"):
        records += [_skipped(suite, _why_no_gpu()) for suite in chosen]
    table = Table(tuple(records), machine(), device, time.perf_counter() - start)
    if out is not None:
        table.save(out)
    return table


def _chosen(names: str | Iterable[str] | None) -> list[Suite]:
    every = suites()
    if names is None:
        return every
    wanted = [names] if isinstance(names, str) else list(names)
    known = {suite.op for suite in every} | {suite.family for suite in every}
    for name in wanted:
        if name not in known:
            raise ValueError(f"no benchmark is called {name!r}; there are {', '.join(sorted(known))}")
    operations = {suite.op for suite in every}
    return [
        suite for suite in every if suite.op in wanted or (suite.family in wanted and suite.family not in operations)
    ]


def _thread_counts(threads: Sequence[int] | None) -> tuple[int, ...]:
    counts = sorted(set(threads or (1, torch.get_num_threads())))
    if counts[0] < 1:
        raise ValueError(f"threads must be at least 1, got {counts[0]}")
    return tuple(counts)


def _on_cpu(
    chosen: list[Suite],
    threads: tuple[int, ...],
    quick: bool,
    compiled: bool,
    seed: int,
    progress: Callable[[str], None],
) -> list[Record]:
    effort = Effort(short_rounds=15, long_rounds=5, min_seconds=2e-4, retries=0) if quick else Effort()
    records: list[Record] = []
    for suite in chosen:
        for scene in suite.scenes(threads, quick=quick):
            shape = "×".join(map(str, scene.shape))
            progress(f"{suite.op} {shape} {scene.mode}, {scene.threads} thread{'s' * (scene.threads > 1)}")
            records += time_scene(suite, scene, effort=effort, compiled=compiled, seed=seed)
    return records


def _why_no_gpu() -> str:
    if not torch.cuda.is_available():
        built = torch.version.cuda
        return "torch sees no CUDA device" + ("" if built else f" (torch {torch.__version__} is built without CUDA)")
    return "the stopwatch of `normkit bench` does not time GPUs yet; the GPU kernels are there and tested, not timed"


def _skipped(suite: Suite, reason: str) -> Record:
    shape = suite.quick_shapes[0]
    return Record(
        op=suite.op,
        variant="normkit",
        shape=list(shape),
        dtype="float32",
        threads=1,
        mode="fwd",
        cache=cache_class(8 * math.prod(shape), os.cpu_count() or 1),
        output="fresh",
        status="skipped",
        reason=reason,
    )
