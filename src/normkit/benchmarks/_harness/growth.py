"""What a suite of growth says: a call on data of size n, the sizes, and how fast its cost may grow with them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from normkit.benchmarks._harness.suite import Peer

__all__ = ["Growth"]


@dataclass(frozen=True)
class Growth:
    """A call whose time and memory are measured at growing sizes, found by listing `normkit.benchmarks`.

    Each measurement is one call in a fresh process with one thread, after a call of `quick_size` that imports and
    builds what is built once. Time is the process's CPU time, of a second call where the first took less than a second
    (that one also pays for memory that the system has yet to hand out). Memory is the most that the process held
    during the call beyond what it held before it: what has to be imported and the inputs do not count, what the call
    allocates and returns does. The *exponent* p is the slope of log cost over log n, by least squares over the sizes
    measured: the cost grows as nᵖ.

    `public`, `inputs` and the peers' calls go to that process by name: they are functions of a module, not lambdas.

    Args:
        op: name of the call; the record's `op`.
        public: what is measured, called with the inputs.
        inputs: makes the inputs of a size n from a generator. What is not to be measured belongs here too: the fit
            where queries are the question.
        sizes: n, in rising order: 1, 10 and, where memory is linear, 100 times the size of a claim.
        quick_size: the n of the tests and of the call before the one that is measured; the least n of `--quick`.
        peers: others that compute the same; those that do (`same`) must agree with `public` at `quick_size`.
            `largest` is the n from which on a peer is left out; `writes_out`, `prepare` and `device` mean nothing here.
        dtype: of the inputs.
        tolerance: how far a peer's results may be from ours, relative to the largest entry.
        results: the arrays to compare of what a call returns; it is an array itself where this is None.
        most_time_exponent, most_memory_exponent: what the exponents may be at most.
        most_bytes: what a call of size n may hold at most.
        family: suites of one family are run by the family's name too.
    """

    op: str
    public: Callable[..., Any]
    inputs: Callable[[int, np.random.Generator], tuple[Any, ...]]
    sizes: tuple[int, ...]
    quick_size: int
    peers: tuple[Peer, ...] = ()
    dtype: str = "float64"
    tolerance: float = 1e-6
    results: Callable[[Any], Any] | None = None
    most_time_exponent: float | None = None
    most_memory_exponent: float | None = None
    most_bytes: Callable[[int], float] | None = None
    family: str = "growth"

    @property
    def variants(self) -> tuple[Peer, ...]:
        """The public call, then the peers."""
        return (Peer("normkit", self.public), *self.peers)

    @property
    def quick_sizes(self) -> tuple[int, ...]:
        """Three sizes for a first look, up to the smallest of `sizes`, but 8 to 16 times the least."""
        least = self.quick_size
        most = min(max(self.sizes[0], 8 * least), 16 * least)
        return least, round((least * most) ** 0.5), most

    def make(self, size: int, seed: int) -> tuple[Any, ...]:
        """The inputs of a size."""
        return self.inputs(size, np.random.default_rng(seed))
