"""One call in a fresh process: its CPU time and the most memory it held. Both sides of the process stand here."""

import gc
import json
import os
import pickle
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import Any, NamedTuple

from normkit.benchmarks._harness.growth import Growth
from normkit.benchmarks._harness.resident import PeakMemory

__all__ = ["CallFailedError", "OutOfMemoryError", "Run", "Single", "answer", "fresh", "single", "sprouting"]

_COMMAND = [sys.executable, "-c", "from normkit.benchmarks._harness.single import answer; answer()"]
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
        _COMMAND,
        input=_packed(call, growth, size, seed, min_seconds),
        capture_output=True,
        env=_one_thread(),
        check=False,
    )
    return _understood(done.returncode, done.stdout, done.stderr, size)


Run = Callable[[Callable[..., Any], Growth, int, int], Single]
"""How a call is measured: `fresh`, or what `sprouting` yields."""


@contextmanager
def sprouting() -> Iterator[Run]:
    """Yield what `fresh` does for a fraction of its cost: forks of one process that has imported everything.

    The process itself calls nothing, so a fork finds no thread and no memory of another call. Where the system cannot
    fork it is `fresh`.
    """
    if not hasattr(os, "fork"):
        yield fresh
        return
    with subprocess.Popen(
        [*_COMMAND, "many"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_one_thread()
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        ask, hear = process.stdin, process.stdout

        def run(call: Callable[..., Any], growth: Growth, size: int, seed: int) -> Single:
            packed = _packed(call, growth, size, seed, 0.05)
            ask.write(len(packed).to_bytes(8, "little") + packed)
            ask.flush()
            code, out, err = json.loads(hear.readline() or f'[{process.wait()}, "", ""]')
            return _understood(code, out.encode(), err.encode(), size)

        try:
            yield run
        finally:
            ask.close()  # at the end of its input it ends


def answer() -> None:
    """What the other process does: read what to measure, say what was measured; with `many`, in a fork for each."""
    if sys.argv[1:] != ["many"]:
        _answer(sys.stdin.buffer.read())
        return
    while size := sys.stdin.buffer.read(8):
        packed = sys.stdin.buffer.read(int.from_bytes(size, "little"))
        pickle.loads(packed)  # imports what the call needs, once
        gc.freeze()  # a fork's collector would copy every page that it looks through
        sys.stdout.write(json.dumps(_in_a_fork(packed)) + "\n")
        sys.stdout.flush()


def _in_a_fork(packed: bytes) -> tuple[int, str, str]:
    """Exit code, output and errors of a fork that measures."""
    with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        if (child := os.fork()) == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            code = 1
            try:
                _answer(packed)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        err.seek(0)
        return code, out.read(), err.read()


def _answer(packed: bytes) -> None:
    call, growth, size, seed, min_seconds = pickle.loads(packed)
    found = single(call, growth, size, seed, min_seconds=min_seconds)
    sys.stdout.write("\n" + json.dumps(found._asdict()) + "\n")


def _understood(code: int, out: bytes, err: bytes, size: int) -> Single:
    if code == 0:
        return Single(**json.loads(out.splitlines()[-1]))
    said = err.decode(errors="replace").strip().splitlines()
    last = said[-1] if said else f"exit code {code}"
    if code == _KILLED or "MemoryError" in last or "can't allocate memory" in last:
        raise OutOfMemoryError(f"at size {size} the process was out of memory ({last})")
    raise CallFailedError(f"at size {size}: {last}")


def _one_thread() -> dict[str, str]:
    return os.environ | dict.fromkeys(_THREADS, "1") | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def _packed(*what: Any) -> bytes:
    try:
        return pickle.dumps(what)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"a suite of growth is measured in a process of its own: its calls and inputs must be functions of a "
            f"module, which that process can import ({error})"
        ) from None
