"""One call in a fresh process: its CPU time and the most memory it held. Both sides of the process stand here."""

import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from normkit.benchmarks._harness.growth import Growth
from normkit.benchmarks._harness.resident import PeakMemory

__all__ = ["CallFailedError", "OutOfMemoryError", "Single", "answer", "fresh", "single"]

_CHILD = "from normkit.benchmarks._harness.single import answer; answer()"
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_KILLED = -9
_LONG = 1.0  # seconds


class Single(NamedTuple):
    """Seconds of CPU time a call, and bytes that it held at most beyond what was held before it."""

    seconds: float
    bytes: int


class OutOfMemoryError(Exception):
    """The machine did not have the memory that a call wanted."""


class CallFailedError(Exception):
    """A call raised, or its process ended without an answer; the message says what was last heard."""


def single(call: Callable[..., Any], growth: Growth, size: int, seed: int = 0, *, min_seconds: float = 0.05) -> Single:
    """Measure one call here and now: its memory at once, its time at a second call where the first was short.

    A first call also pays for memory that the system has yet to hand out. Where it took a second or more, it is the
    only one and its time counts; else it is made again until `min_seconds` have passed.
    """
    call(*growth.make(growth.quick_size, seed))
    inputs = growth.make(size, seed)
    peak = PeakMemory()
    first = _seconds(call, inputs, 0.0)
    most = peak.bytes()
    return Single(first if first >= _LONG else _seconds(call, inputs, min_seconds), most)


def _seconds(call: Callable[..., Any], inputs: tuple[Any, ...], least: float) -> float:
    """CPU time of a call, the mean of as many as fill `least` seconds."""
    calls, start = 0, time.process_time()
    while calls == 0 or time.process_time() - start < least:
        call(*inputs)
        calls += 1
    return (time.process_time() - start) / calls


def fresh(call: Callable[..., Any], growth: Growth, size: int, seed: int = 0, *, min_seconds: float = 0.05) -> Single:
    """`single` in a process of its own, with one thread.

    Raises:
        ValueError: the suite cannot be handed to another process; says what is wanted.
        OutOfMemoryError: the process got less memory than it asked for.
        CallFailedError: the call raised.
    """
    done = subprocess.run(
        [sys.executable, "-c", _CHILD],
        input=_packed(call, growth, size, seed, min_seconds),
        capture_output=True,
        env=os.environ | dict.fromkeys(_THREADS, "1") | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=False,
    )
    if done.returncode == 0:
        return Single(**json.loads(done.stdout.splitlines()[-1]))
    said = done.stderr.decode(errors="replace").strip().splitlines()
    last = said[-1] if said else f"exit code {done.returncode}"
    if done.returncode == _KILLED or "MemoryError" in last or "can't allocate memory" in last:
        raise OutOfMemoryError(f"at size {size} the process was out of memory ({last})")
    raise CallFailedError(f"at size {size}: {last}")


def answer() -> None:
    """What the fresh process does: read what to measure, say what was measured."""
    call, growth, size, seed, min_seconds = pickle.load(sys.stdin.buffer)
    found = single(call, growth, size, seed, min_seconds=min_seconds)
    sys.stdout.write("\n" + json.dumps(found._asdict()) + "\n")


def _packed(*what: Any) -> bytes:
    try:
        return pickle.dumps(what)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"a suite of growth is measured in a process of its own: its calls and inputs must be functions of a "
            f"module, which that process can import ({error})"
        ) from None
