"""Time one scene of one suite: build the calls, check them, run the rounds, write the records."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from normkit.benchmarks._harness.bar import bars_of
from normkit.benchmarks._harness.candidate import Candidate, candidates
from normkit.benchmarks._harness.contention import contention
from normkit.benchmarks._harness.correctness import Truth
from normkit.benchmarks._harness.record import Record, is_ours
from normkit.benchmarks._harness.roof import cache_class, copies
from normkit.benchmarks._harness.suite import Inputs, Scene, Suite
from normkit.benchmarks._harness.timing import Ratio, Timings, clock_for, interleaved
from normkit.benchmarks._harness.verdict import judge

__all__ = ["Effort", "time_scene"]

_NOISY = 0.15
_WAITING = 0.05  # of the wall time, summed over threads


@dataclass(frozen=True)
class Effort:
    """How long to measure: rounds for calls under 1 ms and for longer ones, least seconds of one measurement."""

    short_rounds: int = 60
    long_rounds: int = 9
    min_seconds: float = 1e-3
    retries: int = 1


def time_scene(suite: Suite, scene: Scene, *, effort: Effort, compiled: bool = False, seed: int = 0) -> list[Record]:
    """All records of one scene; variants that are wrong or impossible are among them with their reason."""
    suite = suite.called_as(scene)
    with _threads(scene.threads), torch.set_grad_enabled(scene.mode != "fwd"):
        inputs = suite.make(scene, seed)
        upstream = _upstream(suite, inputs, seed)
        found = candidates(suite, scene, inputs, upstream, compiled=compiled)
        judge(found, Truth(suite, scene, inputs, upstream), scene, upstream)
        measured = _time(found, inputs, scene, effort, seed)
    return _records(suite, scene, found, inputs, measured)


def _upstream(suite: Suite, inputs: Inputs, seed: int) -> Tensor:
    """The gradient that arrives from above: random normal numbers of the output's shape."""
    with torch.no_grad():
        shape, dtype = (output := suite.peers[0].call(*inputs)).shape, output.dtype
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + 1)).to(dtype)


@dataclass(frozen=True)
class _Measured:
    """The times of a scene, and how long its threads waited for a core while they were taken."""

    timings: Timings
    waiting: float

    def doubt(self, ratio: Ratio) -> str:
        """Why a ratio is not to be believed; empty if it is."""
        if self.waiting > _WAITING:
            return f"other processes took the cores: the threads waited for one {self.waiting:.0%} of the time"
        wide = ratio.high > ratio.median * (1 + _NOISY) or ratio.low < ratio.median * (1 - _NOISY)
        return "the interval of the ratio is wider than ±15 %: measure on a quieter machine" if wide else ""


def _time(found: list[Candidate], inputs: Inputs, scene: Scene, effort: Effort, seed: int) -> _Measured | None:
    """Time what is right, the copies among it; None where nothing of ours is right. What is in doubt is timed again."""
    calls = {each.name: each.run for each in found if each.status == "ok"}
    ours = [each for each in found if each.ours and each.status == "ok"]
    if not ours:
        return None
    calls |= copies(inputs[0], scene.threads)
    clock = clock_for(scene.threads)
    rounds = effort.short_rounds if _seconds(ours[0].run, clock) < 1e-3 else effort.long_rounds
    for attempt in range(effort.retries + 1):
        again = 2**attempt * rounds
        with contention() as waiting:
            timings = interleaved(calls, rounds=again, min_seconds=effort.min_seconds, seed=seed + attempt, clock=clock)
        # One thread is timed by its own CPU time, in which waiting for a core does not count.
        measured = _Measured(timings, waiting.share if scene.threads > 1 else 0.0)
        if not any(measured.doubt(timings.ratio(peer, ours[0].name)) for peer in _peers(timings)):
            break
    return measured


def _seconds(call: Callable[[], object], clock: Callable[[], float]) -> float:
    call()
    start = clock()
    call()
    return clock() - start


def _peers(timings: Timings) -> list[str]:
    return [name for name in timings if not is_ours(name) and not name.startswith("copy")]


def _records(
    suite: Suite, scene: Scene, found: list[Candidate], inputs: Inputs, measured: _Measured | None
) -> list[Record]:
    copied = 2 * inputs[0].numel() * inputs[0].element_size()
    blank = Record(
        op=suite.op if scene.case == "normal" else f"{suite.op}/{scene.case}",
        variant="",
        shape=list(scene.shape),
        dtype=str(scene.dtype).removeprefix("torch."),
        threads=scene.threads,
        mode=scene.mode,
        cache=cache_class(copied, os.cpu_count() or 1),
        output=scene.output,
        bytes=suite.necessary_bytes(scene, inputs),
    )
    timings = measured.timings if measured else None
    records: list[Record] = []
    for candidate in found:
        row = replace(blank, variant=candidate.name, max_ulp=candidate.error)
        if measured is None or timings is None or candidate.name not in timings.seconds:
            records.append(_not_timed(row, candidate))
        elif candidate.ours and _peers(timings):
            timed = _with_times(row, timings, copied)
            bars = bars_of(suite.bars, scene, candidate.name, blank.cache)
            others = [name for name in bars if name in timings.seconds and name not in _peers(timings)]
            records += [_with_ratio(timed, measured, other, bars.get(other)) for other in _peers(timings) + others]
        else:
            records.append(_with_times(row, timings, copied))
    if timings is not None:
        roofs = [replace(blank, variant=name, bytes=copied) for name in timings if name.startswith("copy")]
        records += [_with_times(roof, timings, copied) for roof in roofs]
    return records


def _not_timed(row: Record, candidate: Candidate) -> Record:
    if candidate.status == "ok":
        return replace(row, status="skipped", reason="no variant of normkit was right, so nothing was timed")
    return replace(row, status=candidate.status, reason=candidate.reason)


def _with_times(row: Record, timings: Timings, copied: int) -> Record:
    """The row with its times; `copied` is how many bytes the copies of these rounds moved."""
    time = timings[row.variant]
    gbps = copy_fraction = None
    if row.bytes is not None:
        gbps = row.bytes / time.median / 1e9
        speed = float(np.median(timings.seconds["copy"] / timings.seconds[row.variant]))
        copy_fraction = speed * row.bytes / copied
    return replace(
        row,
        min_ns=time.min * 1e9,
        median_ns=time.median * 1e9,
        p10=time.p10 * 1e9,
        p90=time.p90 * 1e9,
        gbps=gbps,
        copy_fraction=copy_fraction,
    )


def _with_ratio(row: Record, measured: _Measured, peer: str, bar: float | None) -> Record:
    ratio = measured.timings.ratio(peer, row.variant)
    doubt = measured.doubt(ratio)
    return replace(
        row,
        ratio_to=peer,
        ratio_median=ratio.median,
        ratio_ci=[ratio.low, ratio.high],
        bar=bar,
        met=_met(ratio, bar, noisy=bool(doubt)),
        status="noisy" if doubt else "ok",
        reason=doubt,
    )


def _met(ratio: Ratio, bar: float | None, *, noisy: bool) -> bool | None:
    """Whether the bar is met; of a noisy row it is said only where the whole interval lies on one side."""
    if bar is None or (noisy and ratio.low < bar <= ratio.high):
        return None
    return bool(ratio.median >= bar)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
