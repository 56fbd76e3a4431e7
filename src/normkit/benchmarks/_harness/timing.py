"""Time several ways of doing one thing against each other, so that the answer survives a busy machine.

Every round times each variant once, in a random order: what the machine does to one it does to all, and none profits
from the cache that the one before it always leaves behind. What is reported of two variants is the median of the ratios
*within* the rounds, with a bootstrap interval; the ratio of two separate averages would mix in the load of two moments.
"""

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float

__all__ = ["Measure", "Ratio", "Timing", "Timings", "between", "clock_for", "interleaved", "ratio_of"]

Clock = Callable[[], float]
Measure = Callable[[Callable[[], object], int], float]
"""Makes a call so many times in a row and says how many seconds they took together."""

_RESAMPLES = 1000
_LONGEST_BATCH = 100_000


class Ratio(NamedTuple):
    """Median of the per-round ratios of two variants and the ends of its 95 % bootstrap interval (no unit)."""

    median: float
    low: float
    high: float


class Timing(NamedTuple):
    """One variant's time over the rounds, in seconds per call."""

    min: float
    median: float
    p10: float
    p90: float


@dataclass(frozen=True)
class Timings:
    """What `interleaved` measured: seconds per call of each variant in each round.

    Attributes:
        seconds: per variant an array with one entry a round; entry i of all variants belongs to the same round.
        calls: how often each variant was called in a row to fill one measurement.
        seed: seed of the rounds' order and of the bootstrap.
    """

    seconds: Mapping[str, Float[np.ndarray, " rounds"]]
    calls: Mapping[str, int]
    seed: int = 0

    def __getitem__(self, name: str) -> Timing:
        """The summary of variant `name`.

        Raises:
            KeyError: no variant of that name was timed; names those that were.
        """
        if name not in self.seconds:
            raise KeyError(f"no variant {name!r} was timed; there are {', '.join(self.seconds)}")
        low, median, high = np.percentile(self.seconds[name], [10, 50, 90])
        return Timing(float(self.seconds[name].min()), float(median), float(low), float(high))

    def __iter__(self) -> Iterator[str]:
        return iter(self.seconds)

    def __len__(self) -> int:
        return len(self.seconds)

    def ratio(self, peer: str, ours: str) -> Ratio:
        """Peer's time over our time: above 1 we are faster; the median over rounds and its 95 % interval."""
        for name in (peer, ours):
            self[name]
        return ratio_of(self.seconds[peer], self.seconds[ours], seed=self.seed)


def ratio_of(peer: Float[np.ndarray, " rounds"], ours: Float[np.ndarray, " rounds"], *, seed: int = 0) -> Ratio:
    """Median of `peer / ours` over paired rounds with a bootstrap 95 % interval (rounds are drawn anew 1000 times)."""
    ratios = np.asarray(peer, dtype=float) / np.asarray(ours, dtype=float)
    drawn = np.random.default_rng(seed).integers(len(ratios), size=(_RESAMPLES, len(ratios)))
    low, high = np.percentile(np.median(ratios[drawn], axis=1), [2.5, 97.5])
    return Ratio(float(np.median(ratios)), float(low), float(high))


def clock_for(threads: int) -> Clock:
    """The clock that belongs to a number of threads.

    CPU time of the calling thread for one (other processes' share of the core does not count), the monotonic wall clock
    for more (the other threads' time is not this thread's).
    """
    return time.thread_time if threads == 1 else time.perf_counter


def between(clock: Clock) -> Measure:
    """Calls are timed from one reading of the clock to the next."""

    def measure(call: Callable[[], object], calls: int) -> float:
        start = clock()
        for _ in range(calls):
            call()
        return max(clock() - start, 1e-9)

    return measure


def interleaved(
    variants: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 9,
    min_seconds: float = 1e-3,
    seed: int = 0,
    clock: Clock | None = None,
    measure: Measure | None = None,
    most_calls: int = _LONGEST_BATCH,
) -> Timings:
    """Time `variants` in interleaved rounds of random order.

    Short calls are repeated until one measurement lasts `min_seconds`. Each variant is called before the first round,
    so lazy loading and compilation are not timed; the garbage collector rests while the clock runs.

    Args:
        variants: name -> a call without arguments. Results are dropped at once.
        rounds: how often each variant is measured.
        min_seconds: least length of one measurement, in seconds.
        seed: of the order of the variants and of the bootstrap.
        clock: returns seconds; by default thread CPU time when torch uses one thread, else the monotonic clock.
        measure: times calls in another way than between two readings of a clock (a device's own time).
        most_calls: how many calls a measurement may have, however short they are.

    Raises:
        ValueError: no variants, or fewer than one round.
    """
    if not variants:
        raise ValueError("interleaved needs at least one variant to time, got an empty mapping")
    if rounds < 1:
        raise ValueError(f"interleaved needs at least one round, got rounds={rounds}")
    measure = measure or between(clock or clock_for(torch.get_num_threads()))
    names = list(variants)
    order = np.random.default_rng(seed)
    seconds: dict[str, Any] = {name: np.empty(rounds) for name in names}
    with _collector_at_rest():
        calls = {name: _calls_to_fill(variants[name], min_seconds, measure, most_calls) for name in names}
        for round_ in range(rounds):
            for index in order.permutation(len(names)):
                name = names[index]
                seconds[name][round_] = measure(variants[name], calls[name]) / calls[name]
    return Timings(seconds, calls, seed)


def _calls_to_fill(call: Callable[[], object], min_seconds: float, measure: Measure, most: int) -> int:
    """How many calls in a row last `min_seconds`; the first call only warms up."""
    call()
    calls = 1
    while (taken := measure(call, calls)) < min_seconds and calls < most:
        # A tenth more than needed, and never more than ten times as many: the first guess rests on few clock ticks.
        calls = min(most, calls * 10, max(calls + 1, int(1.1 * calls * min_seconds / taken)))
    return calls


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
