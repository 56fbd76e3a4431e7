"""`bench --tune`: from which size on the native kernel is the quicker one, and whether dispatch takes it there."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from math import prod
from typing import NamedTuple

import torch

from normkit.benchmarks._harness.suite import Inputs, Scene, Shape, Suite
from normkit.benchmarks._harness.timing import interleaved
from normkit.kernels import available

__all__ = ["Crossover", "crossovers"]

_LARGEST = 2**20  # elements: above, the answer has long been clear


class Crossover(NamedTuple):
    """One operation at one shape, forward, one thread: who is quicker, and what the public function makes of it.

    `native` is the time of torch's kernel over the native one's, `default` the time of the quicker of the two over the
    public function's: below 0.95 dispatch makes the wrong choice here (or is slow in making it).
    """

    op: str
    shape: tuple[int, ...]
    native: float
    default: float


def crossovers(
    suites: Iterable[Suite], *, rounds: int = 15, seed: int = 0, progress: Callable[[str], None] | None = None
) -> list[Crossover]:
    """Time both kernels and the public function, for every operation that has both, from small calls to large ones."""
    usable = {(row["op"], row["kernel"]) for row in available() if row["usable"]}
    both = [each for each in suites if {(each.op, "native"), (each.op, "torch")} <= usable]
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            return [found for suite in both for found in _of(suite, rounds, seed, progress or (lambda line: None))]
    finally:
        torch.set_num_threads(before)


def _shapes(suite: Suite) -> list[Shape]:
    return sorted({shape for shape in suite.quick_shapes + suite.shapes if prod(shape) <= _LARGEST}, key=prod)


def _of(suite: Suite, rounds: int, seed: int, progress: Callable[[str], None]) -> Iterator[Crossover]:
    for shape in _shapes(suite):
        progress(f"crossover {suite.op} {'×'.join(map(str, shape))}")
        inputs: Inputs = suite.make(Scene(shape), seed)
        calls = {name: partial(suite.public, *inputs, kernel=name) for name in ("native", "torch")}
        timings = interleaved({**calls, "default": partial(suite.public, *inputs)}, rounds=rounds, seed=seed)
        native = timings.ratio("torch", "native").median
        quicker = "native" if native >= 1 else "torch"
        yield Crossover(suite.op, shape, native, timings.ratio(quicker, "default").median)
