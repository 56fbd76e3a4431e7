"""Whether somebody else wanted the cores: a thread that waits for one holds up all that wait for it.

With several threads a wall clock measures the slowest of them. On a machine with other work to do that is the
scheduler's time slice, milliseconds for a call of microseconds, as long for a fast kernel as for a slow one. No
statistics over rounds can see that; the scheduler's own books can.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Contention", "contention"]


@dataclass
class Contention:
    """Seconds that this process's threads waited for a core, per second of wall time; 0 where that is not known."""

    share: float = 0.0


@contextmanager
def contention() -> Iterator[Contention]:
    """Measure the waiting inside the block (Linux; elsewhere it is taken for 0)."""
    found = Contention()
    start, before = time.perf_counter(), _waited()
    yield found
    found.share = max(0.0, _waited() - before) / max(time.perf_counter() - start, 1e-9)


def _waited() -> float:
    """Seconds that all threads of this process have spent ready to run without a core."""
    nanoseconds = 0
    for path in Path("/proc/self/task").glob("*/schedstat"):
        try:
            nanoseconds += int(path.read_text().split()[1])
        except (OSError, IndexError, ValueError):  # the thread has ended, or the kernel keeps no such books
            continue
    return nanoseconds / 1e9
