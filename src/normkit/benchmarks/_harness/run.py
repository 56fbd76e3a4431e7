"""`bench`: which suites, in which settings, on which device."""

import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from normkit.benchmarks._harness.grown import measure_growth, skipped_growth
from normkit.benchmarks._harness.growth import Growth
from normkit.benchmarks._harness.machine import machine
from normkit.benchmarks._harness.record import Record
from normkit.benchmarks._harness.roof import cache_class
from normkit.benchmarks._harness.scene import Effort, time_scene
from normkit.benchmarks._harness.single import Run, sprouting
from normkit.benchmarks._harness.suite import Scene, Suite
from normkit.benchmarks._harness.table import Table
from normkit.listing import meant, modules

__all__ = ["bench", "devices", "growths", "suites", "why_no_gpu"]

_DEVICES = ("cpu", "cuda", "all")
_TIME_OVER = "the time that was given was over"


Names = str | Iterable[str] | None


def suites(names: Names = None) -> list[Suite]:
    """Every suite, or those of the operations or families named, found by listing: those that a person feels first.

    Raises:
        ValueError: no operation and no family bears a name; says which there are.
    """
    return [suite for suite in _named_suites(names) if isinstance(suite, Suite)]


def growths(names: Names = None) -> list[Growth]:
    """Every suite of growth, or those named, as `suites`; the family `growth` is all of them."""
    return [suite for suite in _named_suites(names) if isinstance(suite, Growth)]


def _named_suites(names: Names) -> list[Suite | Growth]:
    found: list[Suite | Growth] = [module.suite for module in modules("normkit.benchmarks") if hasattr(module, "suite")]
    every = sorted(found, key=lambda suite: (suite.family != "step", suite.family, suite.op))
    if names is None:
        return every
    wanted = [names] if isinstance(names, str) else list(names)
    operations = {suite.op for suite in every}
    known = operations | {suite.family for suite in every}
    for name in wanted:
        if name not in known:
            raise ValueError(f"no benchmark is called {name!r}: {meant(name, sorted(known))}")
    return [
        suite for suite in every if suite.op in wanted or (suite.family in wanted and suite.family not in operations)
    ]


def bench(
    names: Names = None,
    *,
    device: str = "cpu",
    quick: bool = False,
    out: str | Path | None = None,
    threads: Sequence[int] | None = None,
    compiled: bool = False,
    minutes: float | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
    measured: Callable[[list[Record]], None] | None = None,
) -> Table:
    """Time operations against their peers and against the machine's copy speed, in interleaved rounds.

    First the user's view (the public function as it stands, all threads, forward and backward, fresh output; a step of
    a small GPT-2 and of a ResNet with and without normkit), then the kernels' view. Each variant is checked against
    float64 before it is timed; one that is wrong is not. Last comes how the cost of an estimator grows with its
    data (`Growth`).

    Args:
        names: operations or families (`softmax`, `norm`, `growth`, …); all by default.
        device: `cpu`, `cuda` (the current one) or `all`. Without a GPU `cuda` gives records with status `skipped` and
            the reason. A GPU is timed by its own events, and the host's time for a call apart from that.
        quick: few sizes and few rounds, for a first look.
        out: a folder for `bench.json`, the roofline and `report.html`.
        threads: thread counts of the kernels' view; one and all by default.
        compiled: time `torch.compile` of the first peer too (needs a compiler; slow to start). On a GPU large forward
            passes are compared with it in any case.
        minutes: begin no setting after so many; what is left out is a record with status `skipped`.
        seed: of inputs, rounds and bootstrap.
        progress: called with one line of text before each setting.
        measured: called with records as soon as they are there: those of all kernels, then those of each size of what
            grows.

    Returns:
        The table; iterate it for `Record`s, `to_dict()` is the JSON object.

    Raises:
        ValueError: an unknown name or device, a thread count below one, or no minutes at all.
    """
    start = time.perf_counter()
    if names is not None and not isinstance(names, str):
        names = list(names)
    chosen, growing, kinds = suites(names), growths(names), devices(device)
    counts = _thread_counts(threads)
    if minutes is not None and not minutes > 0:
        raise ValueError(f"minutes must be more than 0, got {minutes}")
    deadline = math.inf if minutes is None else start + 60 * minutes
    progress = progress or (lambda line: None)
    measured = measured or (lambda records: None)
    records: list[Record] = []
    if "cpu" in kinds:
        records += _on_cpu(chosen, counts, quick, compiled, seed, progress, deadline)
    if "cuda" in kinds:
        records += _on_gpu(chosen, quick, compiled, seed, progress, deadline)
    if records:
        measured(records)
    with sprouting() if quick and growing else nullcontext(None) as run:
        for growth in growing:
            records += _growth(growth, kinds, quick, seed, progress, measured, deadline, run)
    table = Table(tuple(records), machine(), device, time.perf_counter() - start)
    if out is not None:
        table.save(out)
    return table


def _growth(
    growth: Growth,
    kinds: tuple[str, ...],
    quick: bool,
    seed: int,
    progress: Callable[[str], None],
    measured: Callable[[list[Record]], None],
    deadline: float,
    run: Run | None,
) -> list[Record]:
    if "cpu" not in kinds:
        found = [skipped_growth(growth, "growth is measured on the CPU", "cuda")]
        measured(found)
        return found
    return measure_growth(
        growth,
        quick=quick,
        seed=seed,
        progress=progress,
        measured=measured,
        out_of_time=lambda: time.perf_counter() > deadline,
        run=run,
    )


def devices(device: str) -> tuple[str, ...]:
    """The kinds of device that `device` stands for.

    Raises:
        ValueError: it is neither `cpu` nor `cuda` nor `all`.
    """
    if device not in _DEVICES:
        raise ValueError(f"device must be one of {', '.join(_DEVICES)}, got {device!r}")
    return ("cpu", "cuda") if device == "all" else (device,)


def _thread_counts(threads: Sequence[int] | None) -> tuple[int, ...]:
    counts = sorted(set(threads or (1, torch.get_num_threads())))
    if counts[0] < 1:
        raise ValueError(f"threads must be at least 1, got {counts[0]}")
    return tuple(counts)


def _effort(quick: bool) -> Effort:
    return Effort(short_rounds=15, long_rounds=5, min_seconds=2e-4, retries=0) if quick else Effort()


def _on_cpu(
    chosen: list[Suite],
    threads: tuple[int, ...],
    quick: bool,
    compiled: bool,
    seed: int,
    progress: Callable[[str], None],
    deadline: float,
) -> list[Record]:
    records: list[Record] = []
    for suite in chosen:
        for scene in suite.scenes(threads, quick=quick):
            if time.perf_counter() > deadline:
                records.append(_skipped(suite, scene, _TIME_OVER))
                continue
            progress(f"{_named(suite, scene)}, {scene.threads} thread{'s' * (scene.threads > 1)}")
            records += time_scene(suite, scene, effort=_effort(quick), compiled=compiled, seed=seed)
    return records


def _on_gpu(
    chosen: list[Suite], quick: bool, compiled: bool, seed: int, progress: Callable[[str], None], deadline: float
) -> list[Record]:
    if why := why_no_gpu():
        first = (next(suite.gpu_scenes(quick=True)) for suite in chosen)
        return [_skipped(suite, scene, why) for suite, scene in zip(chosen, first, strict=True)]
    effort = replace(_effort(quick), short_rounds=15 if quick else 30)  # a device has no other processes
    records: list[Record] = []
    for suite in chosen:
        for scene in suite.gpu_scenes(quick=quick):
            if time.perf_counter() > deadline:
                records.append(_skipped(suite, scene, _TIME_OVER))
                continue
            progress(f"{_named(suite, scene)}, {scene.device}")
            records += _fitting(suite, scene, effort, compiled, seed)
    return records


def _fitting(suite: Suite, scene: Scene, effort: Effort, compiled: bool, seed: int) -> list[Record]:
    """The records of a scene; one that the device's memory does not hold is left out. Nothing stays behind in it."""
    try:
        return time_scene(suite, scene, effort=effort, compiled=compiled, seed=seed)
    except torch.cuda.OutOfMemoryError as error:
        return [_skipped(suite, scene, " ".join(str(error).split()))]
    finally:
        torch.cuda.empty_cache()


def _named(suite: Suite, scene: Scene) -> str:
    return f"{suite.op} {'×'.join(map(str, scene.shape))} {scene.mode}"


def why_no_gpu() -> str:
    """Why nothing can be timed on a GPU; empty where it can."""
    if torch.cuda.is_available():
        return ""
    return "torch sees no CUDA device" + (
        "" if torch.version.cuda else f" (torch {torch.__version__} is built without CUDA)"
    )


def _skipped(suite: Suite, scene: Scene, reason: str) -> Record:
    copied = 2 * scene.dtype.itemsize * math.prod(scene.shape)
    known = scene.device == "cpu" or not why_no_gpu()
    return Record(
        op=suite.op,
        variant="normkit",
        shape=list(scene.shape),
        dtype=str(scene.dtype).removeprefix("torch."),
        threads=scene.threads,
        mode=scene.mode,
        cache=cache_class(copied, os.cpu_count() or 1, scene.device if known else "cpu"),
        output=scene.output,
        device=scene.device,
        status="skipped",
        reason=reason,
    )
