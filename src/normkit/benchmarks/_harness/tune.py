"""`bench --tune`: would other thresholds between the native softmax kernels be faster on this machine?"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import exp, fsum, log
from typing import Any, NamedTuple

import torch
from torch import Tensor

from normkit.benchmarks._harness.timing import Timings, clock_for, interleaved
from normkit.kernels import native

__all__ = ["Tuned", "tune"]


class Tuned(NamedTuple):
    """What was found of one threshold.

    `value` is the one in force, `best` the candidate with the largest `gain`: its speed over the present one's, the
    geometric mean over the shapes of median ratios within interleaved rounds. A gain below 1.03 is no reason to move.
    """

    name: str
    value: int
    best: int
    gain: float
    shapes: tuple[tuple[int, ...], ...]
    threads: int


class _Question(NamedTuple):
    """A threshold, its candidates as multiples of the present value, and shapes that lie on both sides of them."""

    name: str
    factors: tuple[float, ...]
    shapes: tuple[tuple[int, int], ...]
    parallel: bool = False


_QUESTIONS = (
    _Question("short_row", (0.25, 0.5), ((2048, 96), (1024, 192), (512, 384))),
    _Question("scratch_row", (0.25, 0.5, 2.0), ((1024, 24576), (512, 49152), (256, 98304))),
    _Question("cache_bytes", (0.25, 0.5, 2.0), ((512, 4096), (1024, 4096), (2048, 4096))),
    _Question("split_row", (0.25, 4.0), ((1, 32768), (1, 131072)), parallel=True),
    _Question("serial", (0.25, 0.5, 2.0), ((32, 512), (64, 768), (96, 512)), parallel=True),
)


def tune(*, rounds: int = 15, seed: int = 0, progress: Callable[[str], None] | None = None) -> list[Tuned]:
    """Time softmax under other thresholds than those in force; nothing is changed when it returns.

    The thresholds are one table in `native/core/limits.hpp`; `normkit._native.set_threshold(name, value)` sets one for
    a running process.

    Raises:
        ImportError: there are no native kernels here; says why.
    """
    if not native.AVAILABLE:
        raise ImportError(f"there is nothing to tune: {native.WHY_NOT}")
    found = []
    for question in _QUESTIONS:
        threads = torch.get_num_threads() if question.parallel else 1
        if question.parallel and threads == 1:
            continue
        if progress:
            progress(f"tune {question.name}")
        with _threads_and_threshold(threads, question.name) as value:
            timings = [_time(question, value, shape, rounds, seed, threads) for shape in question.shapes]
        found.append(_conclude(question, value, timings, threads))
    return found


def _candidates(question: _Question, value: int) -> dict[str, int]:
    multiples = (16 * round(factor * value / 16) for factor in question.factors)
    return {"now": value} | {str(multiple): multiple for multiple in multiples}


def _time(question: _Question, value: int, shape: tuple[int, int], rounds: int, seed: int, threads: int) -> Timings:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    out = torch.empty_like(x)
    calls = {name: _call(question.name, other, x, out) for name, other in _candidates(question, value).items()}
    return interleaved(calls, rounds=rounds, seed=seed, clock=clock_for(threads))


def _call(name: str, value: int, x: Tensor, out: Tensor) -> Callable[[], object]:
    from normkit import _native

    def call() -> Any:
        _native.set_threshold(name, value)
        return native.softmax(x, -1, out=out)

    return call


def _conclude(question: _Question, value: int, timings: list[Timings], threads: int) -> Tuned:
    candidates = _candidates(question, value)
    gains = {
        name: exp(fsum(log(each.ratio("now", name).median) for each in timings) / len(timings)) for name in candidates
    }
    best = max(gains, key=lambda name: gains[name])
    return Tuned(question.name, value, candidates[best], gains[best], question.shapes, threads)


@contextmanager
def _threads_and_threshold(threads: int, name: str) -> Iterator[int]:
    """Use so many threads inside; yield the threshold in force and put both back."""
    from normkit import _native

    before, value = torch.get_num_threads(), _native.thresholds()[name]
    torch.set_num_threads(threads)
    try:
        yield value
    finally:
        torch.set_num_threads(before)
        _native.set_threshold(name, value)
