"""Measure a suite of growth: sizes in rising order, rounds of fresh processes, the slope on logarithmic axes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from normkit.benchmarks._harness.growth import Growth
from normkit.benchmarks._harness.record import Record
from normkit.benchmarks._harness.resident import free_bytes
from normkit.benchmarks._harness.single import CallFailedError, OutOfMemoryError, Run, Single, fresh
from normkit.benchmarks._harness.suite import Peer
from normkit.benchmarks._harness.timing import Ratio, Timings

__all__ = ["LEAST_BYTES", "disagreement", "exponent", "measure_growth", "skipped_growth"]

LEAST_BYTES = 2.0**20
"""Less than this is the allocator's rounding; from it no exponent is fitted."""

_SHARE = 0.8  # of the free memory that a call may want
_FEARED = 2.0  # the exponent while there is no second size to tell it and the suite promises none

Points = list[tuple[int, float]]


@dataclass
class _Course:
    """One variant on its way through the sizes: the medians so far, and why it goes no further."""

    variant: Peer
    feared: float = _FEARED
    seconds: Points = field(default_factory=list)
    bytes: Points = field(default_factory=list)
    stopped: str = ""
    wrong: bool = False

    def note(self, size: int, found: Sequence[Single]) -> None:
        self.seconds.append((size, float(np.median([each.seconds for each in found]))))
        self.bytes.append((size, float(np.median([each.bytes for each in found]))))

    def why_not(self, size: int) -> str:
        """Why it is not measured at this size; empty where it is."""
        if self.stopped:
            return self.stopped
        if self.variant.largest is not None and size > self.variant.largest:
            return f"left out above size {self.variant.largest}"
        if (wanted := self._expected_bytes(size)) > _SHARE * (free := free_bytes()):
            return (
                f"size {size} would take about {wanted / 2**30:.1f} GiB, as memory has grown so far; "
                f"the machine has {free / 2**30:.1f} GiB left"
            )
        return ""

    def _expected_bytes(self, size: int) -> float:
        if not self.bytes:
            return 0.0
        n, most = self.bytes[-1]
        slope = exponent(self.bytes, LEAST_BYTES)
        return most * (size / n) ** (self.feared if slope is None else slope)


def exponent(points: Points, least: float = 0.0) -> float | None:
    """Least-squares slope of log cost over log n; None with fewer than two sizes that cost more than `least`."""
    counted = [(n, cost) for n, cost in points if cost > least]
    if len(counted) < 2:
        return None
    n, cost = np.log(np.array(counted)).T
    return float(np.polyfit(n, cost, 1)[0])


def measure_growth(
    growth: Growth,
    *,
    quick: bool = False,
    seed: int = 0,
    out_of_time: Callable[[], bool] = lambda: False,
    progress: Callable[[str], None] = lambda line: None,
    measured: Callable[[list[Record]], None] = lambda records: None,
    run: Run | None = None,
) -> list[Record]:
    """All records of a suite: one a size, variant and peer, then one a variant with its exponents.

    A size that the memory does not hold, as it has grown over the smaller ones, is skipped with the reason. `measured`
    gets the records of each size, and at last the exponents, as soon as they are there. With `quick` the sizes are
    `quick_sizes`, each is measured once, and what the exponents may be at most is not judged: it is promised for
    `sizes`. `run` measures a call, `fresh` by default.
    """
    courses = [_course(growth, variant, seed) for variant in growth.variants]
    records: list[Record] = []
    for size in growth.quick_sizes if quick else growth.sizes:
        progress(f"{growth.op} n = {size}")
        found = _at_size(growth, courses, size, 1 if quick else 3, seed, out_of_time, run or fresh)
        measured(found)
        records += found
    fitted = [row for course in courses if (row := _fitted(growth, course, judged=not quick)) is not None]
    measured(fitted)
    return records + fitted


def skipped_growth(growth: Growth, reason: str, device: str) -> Record:
    """The one record of a suite that is not measured at all."""
    return replace(_blank(growth, "normkit", (growth.sizes[0],)), device=device, status="skipped", reason=reason)


def _course(growth: Growth, variant: Peer, seed: int) -> _Course:
    course = _Course(variant, _FEARED if growth.most_memory_exponent is None else growth.most_memory_exponent)
    if variant.name != "normkit" and variant.same:
        try:
            apart = disagreement(growth, variant, seed)
        except Exception as error:  # the peer's own: whatever it is, the others are measured
            course.stopped = " ".join((str(error) or type(error).__name__).split())
            return course
        if not apart <= growth.tolerance:
            course.wrong = True
            course.stopped = f"differs from normkit by {apart:.3g} of the largest entry, at most {growth.tolerance:.3g}"
    return course


def disagreement(growth: Growth, peer: Peer, seed: int = 0) -> float:
    """The largest difference between a peer's results and ours at `quick_size`, over our largest entry."""
    arrays = growth.results or (lambda result: result)
    ours, theirs = (
        np.asarray(arrays(call(*growth.make(growth.quick_size, seed))), dtype=float)
        for call in (growth.public, peer.call)
    )
    if ours.shape != theirs.shape:
        return math.inf
    return float(np.abs(ours - theirs).max() / max(float(np.abs(ours).max()), np.finfo(float).tiny))


def _at_size(
    growth: Growth, courses: list[_Course], size: int, rounds: int, seed: int, out_of_time: Callable[[], bool], run: Run
) -> list[Record]:
    left_out = [
        _left_out(growth, course, size, why) for course in courses if (why := _why_not(course, size, out_of_time))
    ]
    named = {row.variant for row in left_out}
    going = [course for course in courses if course.variant.name not in named]
    found = _rounds(growth, going, size, rounds, seed, out_of_time, run)
    ended = [course for course in going if len(found[course.variant.name]) < rounds]
    going = [course for course in going if course not in ended]
    for course in going:
        course.note(size, found[course.variant.name])
    measured = {course.variant.name: found[course.variant.name] for course in going}
    rows = [row for name in measured for row in _rows(growth, name, size, measured, seed)]
    return rows + left_out + [_left_out(growth, course, size, course.stopped or _TIME_OVER) for course in ended]


_TIME_OVER = "the time that was given was over"


def _why_not(course: _Course, size: int, out_of_time: Callable[[], bool]) -> str:
    return course.why_not(size) or (_TIME_OVER if out_of_time() else "")


def _rounds(
    growth: Growth, courses: list[_Course], size: int, rounds: int, seed: int, out_of_time: Callable[[], bool], run: Run
) -> dict[str, list[Single]]:
    """Fresh processes, the variants in a random order in each round."""
    found: dict[str, list[Single]] = {course.variant.name: [] for course in courses}
    order = np.random.default_rng(seed)
    for _ in range(rounds):
        for place in order.permutation(len(courses)):
            course = courses[place]
            if course.stopped or out_of_time():
                continue
            try:
                found[course.variant.name].append(run(course.variant.call, growth, size, seed))
            except OutOfMemoryError as error:
                course.stopped = str(error)
            except CallFailedError as error:
                course.stopped, course.wrong = str(error), course.variant.name == "normkit"
    return found


def _blank(growth: Growth, variant: str, sizes: Sequence[int]) -> Record:
    return Record(growth.op, variant, list(sizes), growth.dtype, 1, "growth", "", "fresh", clock="process")


def _left_out(growth: Growth, course: _Course, size: int, reason: str) -> Record:
    blank = _blank(growth, course.variant.name, (size,))
    return replace(blank, status="wrong" if course.wrong else "skipped", reason=reason)


def _rows(growth: Growth, name: str, size: int, found: dict[str, list[Single]], seed: int) -> list[Record]:
    """The rows of one variant at one size: one a peer for ours, one for a peer."""
    timings = Timings({each: np.array([run.seconds for run in runs]) for each, runs in found.items()}, {}, seed)
    time, most = timings[name], int(np.median([run.bytes for run in found[name]]))
    row = replace(
        _blank(growth, name, (size,)),
        min_ns=1e9 * time.min,
        median_ns=1e9 * time.median,
        p10=1e9 * time.p10,
        p90=1e9 * time.p90,
        peak_bytes=most,
    )
    peers = [each for each in found if each != "normkit"]
    if name != "normkit":
        return [row]
    rows = [_with_ratio(row, peer, timings.ratio(peer, name)) for peer in peers] or [row]
    # A limit is one promise, however many peers there are.
    return [_limited(rows[0], {"peak_bytes": growth.most_bytes(size) if growth.most_bytes else None}), *rows[1:]]


def _with_ratio(row: Record, peer: str, ratio: Ratio) -> Record:
    return replace(row, ratio_to=peer, ratio_median=ratio.median, ratio_ci=[ratio.low, ratio.high])


def _fitted(growth: Growth, course: _Course, *, judged: bool) -> Record | None:
    """The row of a variant's exponents; None where there are fewer than two sizes to fit them to."""
    time, memory = exponent(course.seconds), exponent(course.bytes, LEAST_BYTES)
    if time is None:
        return None
    row = replace(
        _blank(growth, course.variant.name, [size for size, _ in course.seconds]),
        time_exponent=time,
        memory_exponent=memory,
        reason="" if memory is not None else f"fewer than two sizes took {LEAST_BYTES:.0f} bytes or more: no exponent",
    )
    if course.variant.name != "normkit" or not judged:
        return row
    return _limited(row, {"time_exponent": growth.most_time_exponent, "memory_exponent": growth.most_memory_exponent})


def _limited(row: Record, limits: dict[str, float | None]) -> Record:
    """The row with its limits and whether it keeps them; a figure that was not found keeps and breaks none."""
    set_ = {name: limit for name, limit in limits.items() if limit is not None}
    if not set_:
        return row
    figures = {name: getattr(row, name) for name in set_}
    kept = [figures[name] <= limit for name, limit in set_.items() if figures[name] is not None]
    met = False if not all(kept) else (True if len(kept) == len(set_) else None)
    return replace(row, limits=set_, met=met)
