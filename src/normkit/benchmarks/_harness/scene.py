"""Time one scene of one suite: build the calls, check them, run the rounds, write the records."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from normkit.benchmarks._harness.bar import bars_of
from normkit.benchmarks._harness.candidate import Candidate, candidates
from normkit.benchmarks._harness.correctness import Truth
from normkit.benchmarks._harness.measured import Effort, Measured, measure
from normkit.benchmarks._harness.record import Record
from normkit.benchmarks._harness.roof import cache_class
from normkit.benchmarks._harness.suite import Inputs, Scene, Suite
from normkit.benchmarks._harness.timing import Ratio, Timings
from normkit.benchmarks._harness.verdict import judge

__all__ = ["Effort", "time_scene"]


def time_scene(suite: Suite, scene: Scene, *, effort: Effort, compiled: bool = False, seed: int = 0) -> list[Record]:
    """All records of one scene; variants that are wrong or impossible are among them with their reason."""
    suite = suite.called_as(scene)
    with _threads(scene.threads), _float32(), torch.set_grad_enabled(scene.mode != "fwd"):
        inputs = suite.make(scene, seed)
        upstream = _upstream(suite, scene, inputs, seed)
        found = candidates(suite, scene, inputs, upstream, compiled=compiled)
        judge(found, Truth(suite, scene, inputs, upstream), scene, upstream)
        measured = measure(found, inputs, scene, effort, seed)
    return _records(suite, scene, found, inputs, measured)


def _upstream(suite: Suite, scene: Scene, inputs: Inputs, seed: int) -> Tensor:
    """The gradient that arrives from above: random normal numbers of the output's shape; none in a forward scene."""
    if scene.mode == "fwd":
        return inputs[0].new_empty(0)
    with torch.no_grad():
        shape, dtype = (output := suite.peers[0].call(*inputs)).shape, output.dtype
    generator = torch.Generator(scene.place).manual_seed(seed + 1)
    return torch.randn(shape, generator=generator, device=scene.place).to(dtype)


def _records(
    suite: Suite, scene: Scene, found: list[Candidate], inputs: Inputs, measured: Sequence[Measured]
) -> list[Record]:
    copied = 2 * inputs[0].numel() * inputs[0].element_size()
    blank = Record(
        op=suite.op if scene.case == "normal" else f"{suite.op}/{scene.case}",
        variant="",
        shape=list(scene.shape),
        dtype=str(scene.dtype).removeprefix("torch."),
        threads=scene.threads,
        mode=scene.mode,
        cache=cache_class(copied, os.cpu_count() or 1, scene.device),
        output=scene.output,
        device=scene.device,
        bytes=suite.necessary_bytes(scene, inputs),
    )
    records: list[Record] = []
    for times in measured:
        # The host of a GPU moves no bytes: its time for a call says nothing of a rate.
        line = replace(blank, clock=times.clock, bytes=None if times.clock == "host" else blank.bytes)
        for each in found:
            records += _timed(suite, scene, replace(line, variant=each.name, max_ulp=each.error), times, copied)
        roofs = [replace(line, variant=name, bytes=copied) for name in times.timings if name.startswith("copy")]
        records += [_with_times(roof, times.timings, copied) for roof in roofs]
    rest = (_not_timed(replace(blank, variant=each.name, max_ulp=each.error), each, measured) for each in found)
    return records + [row for row in rest if row is not None]


def _not_timed(row: Record, candidate: Candidate, measured: Sequence[Measured]) -> Record | None:
    """The row of a candidate that has no times; None for one that has."""
    if candidate.status != "ok":
        return replace(row, status=candidate.status, reason=candidate.reason)
    return None if measured else replace(row, status="skipped", reason="no variant of normkit was right")


def _timed(suite: Suite, scene: Scene, row: Record, measured: Measured, copied: int) -> list[Record]:
    """The rows of one variant by one clock: one a peer for ours, one for a peer."""
    timings, peers = measured.timings, measured.peers
    if row.variant not in timings.seconds:
        return []
    timed = _with_times(row, timings, copied)
    if not (row.ours and peers):
        return [timed]
    bars = bars_of(suite.bars_of(scene), scene, row.variant, row.cache, latency=measured.clock == "host")
    others = [name for name in bars if name in timings.seconds and name not in peers]
    return [_with_ratio(timed, measured, other, bars.get(other), copied) for other in peers + others]


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


def _with_ratio(row: Record, measured: Measured, peer: str, bar: float | None, copied: int) -> Record:
    ratio = measured.timings.ratio(peer, row.variant)
    if peer == "copy" and row.bytes is not None:
        ratio = Ratio(*(each * row.bytes / copied for each in ratio))  # of rates, not of times
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


@contextmanager
def _float32() -> Iterator[None]:
    """A GPU's convolutions multiply float32 as float32, not rounded to ten bits, or they would fail the check."""
    if not torch.backends.cudnn.is_available():
        yield
        return
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
