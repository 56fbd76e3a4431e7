"""Time on a GPU: what the device takes for a call, and what the host takes to ask for it.

The device is timed by its own events around a batch of calls. Ahead of the batch it is kept busy until the host has
asked for all of them, so that no gap between two launches is counted: what is measured is the kernels' time. Whether
that worked is asked, not assumed: the first event must not have been reached when the last one has been queued.
"""

import time
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["MOST_CALLS", "DeviceTime", "HostTime", "gpu"]

MOST_CALLS = 50
"""Calls of one measurement: a device queues about a thousand launches, and backward passes are up to twenty each."""
_CYCLES = 2e9  # a second, at least: a backlog that is too long costs time, one that is too short is noticed
_SHORTEST, _LONGEST = 2e-4, 0.2  # seconds of backlog
_ATTEMPTS = 5


def gpu() -> Any:
    """What the clocks need of a device: `Event`, `synchronize` and `_sleep`, as `torch.cuda` has them."""
    return torch.cuda


class DeviceTime:
    """Seconds that the device works on calls (a `Measure`).

    `overtaken` says whether the device ever caught up with the host in spite of all backlog: then gaps were timed too,
    as where a call waits for the device itself or launches more kernels than the device can queue.
    """

    def __init__(self, device: Any = None) -> None:
        """`device` stands in for `torch.cuda` in tests."""
        self._device = device or gpu()
        self._host: dict[Callable[[], object], float] = {}  # seconds that the host took for one call, by call
        self.overtaken = False

    def __call__(self, call: Callable[[], object], calls: int) -> float:
        """The seconds of `calls` calls in a row; fewer are timed, and the time scaled, where so many do not queue."""
        timed, factor = calls, 1.5
        for attempt in range(_ATTEMPTS):
            seconds, ahead = self._once(call, timed, factor)
            if ahead:
                break
            factor *= 2
            timed = timed if attempt == 0 else max(1, timed // 4)
        else:
            self.overtaken = True
        return max(seconds * calls / timed, 1e-9)

    def _once(self, call: Callable[[], object], calls: int, factor: float) -> tuple[float, bool]:
        """Seconds of the batch, and whether the host was ahead of the device all along."""
        start, end = (self._device.Event(enable_timing=True) for _ in range(2))
        backlog = factor * calls * self._host.get(call, 0.0)
        self._device._sleep(int(_CYCLES * min(max(backlog, _SHORTEST), _LONGEST)))
        start.record()
        before = time.perf_counter()
        for _ in range(calls):
            call()
        taken = time.perf_counter() - before
        end.record()
        ahead = not start.query()
        if not ahead or call not in self._host:  # else it may have waited for a place in the queue
            self._host[call] = taken / calls
        end.synchronize()
        return start.elapsed_time(end) / 1e3, ahead


class HostTime:
    """Seconds that the host takes to ask for calls, not waiting for the device (a `Measure`): the latency of a call."""

    def __init__(self, device: Any = None) -> None:
        """`device` stands in for `torch.cuda` in tests."""
        self._device = device or gpu()

    def __call__(self, call: Callable[[], object], calls: int) -> float:
        """The seconds of `calls` calls in a row on a device that was idle before."""
        self._device.synchronize()
        start = time.perf_counter()
        for _ in range(calls):
            call()
        taken = time.perf_counter() - start
        self._device.synchronize()
        return max(taken, 1e-9)
