"""Measure: one call of a run function per seed, in processes of one torch thread, kept as JSON so that it resumes."""

import hashlib
import inspect
import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import normkit
from normkit.data.files import write_atomically
from normkit.extras import MissingExtraError
from normkit.papers._harness.paper import Context, Paper, Run

__all__ = ["Measurement", "RunError", "measure"]


class RunError(RuntimeError):
    """A run of a paper raised; the message names paper, run and seed, the cause is chained."""


@dataclass(frozen=True)
class Measurement:
    """What one call of a run gave."""

    slug: str
    run: str
    scale: str
    seed: int
    fingerprint: str
    seconds: float
    records: list[dict[str, Any]]
    resumed: bool = False


@dataclass(frozen=True)
class _Task:
    slug: str
    run: Run
    seed: int
    fingerprint: str
    folder: Path | None

    @property
    def path(self) -> Path | None:
        return self.folder and self.folder / f"{self.run.scale}-{self.run.name}-seed{self.seed}.json"


def measure(
    paper: Paper,
    scale: str,
    *,
    seed: int,
    folder: Path | None,
    n_jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Measurement]:
    """Call every run of `paper` at `scale` once per seed (`seed`, `seed`+1, …), each call on one torch thread.

    What `folder` holds of the same code is taken from there, so a killed job goes on where it stopped. Runs that are
    `alone` come last, one by one. Smoke runs stay in this process: starting another one costs more than they do.

    Raises:
        RunError: a run raised, or returned something other than a list of dicts of plain figures.
        MissingExtraError: a run needs a package of an extra that is not installed.
    """
    tasks = [
        _Task(paper.slug, run, seed + offset, _fingerprint(run), folder)
        for run in paper.runs_at(scale)
        for offset in range(run.seeds)
    ]
    results = {task: found for task in tasks if (found := _kept(task)) is not None}
    waiting = [task for task in tasks if task not in results]
    if progress:
        progress(len(results), len(tasks))
    for task, result in _calls(waiting, 1 if scale == "smoke" else n_jobs):
        results[task] = result
        if progress:
            progress(len(results), len(tasks))
    return [results[task] for task in tasks]


def _calls(tasks: list[_Task], n_jobs: int | None) -> Iterator[tuple[_Task, Measurement]]:
    import joblib

    shared = {(task.run.name, task.seed): task for task in tasks if not task.run.alone}
    jobs = min(len(shared), n_jobs or joblib.cpu_count())
    if jobs > 1:
        calls = (joblib.delayed(_call)(task) for task in shared.values())
        for result in joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", pre_dispatch=jobs)(calls):
            yield shared[result.run, result.seed], result
    in_turn = [task for task in tasks if jobs <= 1 or task.run.alone]
    yield from ((task, _call(task)) for task in in_turn)


def _call(task: _Task) -> Measurement:
    """Run one task and keep its figures; in a worker process or in this one."""
    context = Context(task.run.scale, task.seed)
    where = f"{task.slug}: {task.run.name}, seed {task.seed}"
    start = time.perf_counter()
    with _one_seeded_thread(task.seed):
        try:
            records = _plain(task.run.function(context))
        except MissingExtraError:
            raise
        except Exception as error:
            raise RunError(f"{where}: {type(error).__name__}: {error}") from error
    seconds = time.perf_counter() - start
    result = Measurement(task.slug, task.run.name, task.run.scale, task.seed, task.fingerprint, seconds, records)
    if task.path is not None:
        write_atomically(task.path, json.dumps(asdict(result), indent=1))
    return result


def _plain(records: Any) -> list[dict[str, Any]]:
    """The records through JSON and back: fresh and resumed figures are then the same, and nothing else gets through."""
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise TypeError(f"a run returns a list of dicts, this one returned {type(records).__name__}")
    try:
        return json.loads(json.dumps(records))
    except TypeError as error:
        raise TypeError(f"a run returns plain figures (call .item() on tensors): {error}") from None


def _kept(task: _Task) -> Measurement | None:
    """The figures that an earlier job left, if the same code made them."""
    if task.path is None or not task.path.exists():
        return None
    try:
        kept = Measurement(**json.loads(task.path.read_text(encoding="utf-8")) | {"resumed": True})
    except (ValueError, TypeError):
        return None  # not ours, or of another layout: measured again and overwritten
    return kept if (kept.slug, kept.fingerprint) == (task.slug, task.fingerprint) else None


@contextmanager
def _one_seeded_thread(seed: int) -> Iterator[None]:
    """One torch thread and fresh seeds inside; the caller's threads and generators are as before afterwards."""
    threads, numpy_state, python_state = torch.get_num_threads(), np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=[]):
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            np.random.set_state(numpy_state)
            random.setstate(python_state)


def _fingerprint(run: Run) -> str:
    """A hash of normkit's sources, the run's own file and torch's version: figures of other code are not reused."""
    own = inspect.getsourcefile(run.function)
    digest = hashlib.sha256(_sources().encode())
    digest.update(Path(own).read_bytes() if own and Path(own).exists() else b"")
    return digest.hexdigest()[:16]


@cache
def _sources() -> str:
    digest = hashlib.sha256(f"{normkit.__version__} torch {torch.__version__}".encode())
    root = Path(normkit.__file__).parent
    for path in sorted([*root.rglob("*.py"), *root.rglob("*.so")]):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()
