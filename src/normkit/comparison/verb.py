"""`compare`: the same network under each method, on the same learning rates and paired seeds."""

import hashlib
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import nn

from normkit.comparison.cost import held_bytes, step_seconds
from normkit.comparison.experiment import Experiment, MakeOptimizer, Quality, sgd
from normkit.comparison.ledger import Ledger, Run, RunKey
from normkit.comparison.method import Method, named
from normkit.comparison.result import Comparison, MethodResult, method_result
from normkit.comparison.split import BatchSplit, split_of
from normkit.training import Forward, Loss

__all__ = ["compare"]

LEARNING_RATES = (0.005, 0.015, 0.05, 0.15, 0.5)
"""0.05 × 0.1, 0.3, 1, 3, 10."""

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def compare(
    build_model: Callable[[], nn.Module],
    data: Any,
    methods: Mapping[str, Method] | Sequence[Method],
    *,
    seeds: int = 3,
    steps: int = 200,
    lrs: Sequence[float] | None = None,
    sweep: str | None = None,
    batch_size: int = 32,
    batch_sizes: Sequence[int] | None = None,
    optimizer: MakeOptimizer | None = None,
    loss: Loss | None = None,
    forward: Forward | None = None,
    quality: Quality | None = None,
    floor: float = 0.0,
    out: str | os.PathLike[str] | None = None,
    n_jobs: int = 1,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Train the same network under each method at every learning rate and seed, and judge it on held-out data.

    Seed s gives every method the same initial network and the same order of batches. Every run has `steps` steps, 5 %
    of them warm-up, then a cosine. A rate is meant at batch 32 and scaled in proportion at other sizes.

    Args:
        build_model: returns a new network; called under each run's seed.
        data: (x_train, y_train, x_test, y_test), (X, y), a `normkit.data.Bunch`, a pair of loaders, or one loader
            (a fifth is kept for judging where the data are not split).
        methods: each None or "baseline" (the network as it is), a rule or its slug (`normkit.conversion`), a list of
            these, or a function that takes the network and returns the one to train; or a dict of names to these.
            Gains are measured against the first.
        seeds: how many paired runs.
        steps: optimiser steps of a run.
        lrs: the grid of learning rates; default 0.05 × (0.1, 0.3, 1, 3, 10).
        sweep: None, or "batch" to repeat everything for each of `batch_sizes`.
        batch_size: samples a step without a sweep (loaders of the user's own keep theirs).
        batch_sizes: of the sweep; default the powers of two from 1 to 256.
        optimizer: `optimizer(model, lr)`; default SGD with momentum 0.9 and weight decay 1e-4.
        loss: as in `normkit.training.fit`.
        forward: as in `normkit.training.fit`.
        quality: `quality(model, batches)`, larger is better; default accuracy.
        floor: what a diverged run counts as.
        out: a folder that keeps every run as it ends (`runs.jsonl`) and gets `report.html`; the same call goes on where
            it stopped.
        n_jobs: processes (joblib; −1 is one for each core); more than one gives each one torch thread.
        seed: the first of the seeds.
        progress: called with (runs done, runs in all), first before any run.

    Raises:
        ValueError: nothing to compare, a budget that is not positive, an unknown sweep, a sweep over loaders whose
            batches cannot be cut anew, or `out` holds a comparison with other settings.
        TypeError: data or a method of an unknown kind.
        KeyboardInterrupt: Ctrl-C; what is done stays in `out`.
    """
    chosen = named(methods)
    rates = [float(lr) for lr in (LEARNING_RATES if lrs is None else lrs)]
    sizes = _sizes(sweep, batch_size, batch_sizes)
    _check_budget(seeds=seeds, steps=steps, rates=len(rates))
    split = split_of(data, seed=seed)
    if sweep and isinstance(split, BatchSplit):
        raise ValueError(
            "sweep='batch' cuts the data anew: give arrays (x_train, y_train, x_test, y_test), not loaders"
        )
    threads = 1 if n_jobs != 1 else None
    experiment = Experiment(build_model, split, chosen, steps, optimizer or sgd, loss, forward, quality, floor, threads)
    plan = [
        RunKey(name, lr, size, seed + index) for size, index, lr, name in product(sizes, range(seeds), rates, chosen)
    ]
    settings = {
        "methods": list(chosen),
        "lrs": rates,
        "batch_sizes": sizes,
        "seeds": seeds,
        "seed": seed,
        "steps": steps,
        "floor": floor,
        "data": split.fingerprint(),
        "model": _fingerprint(experiment, seed),
    }
    for size, name in product(sizes, chosen):
        experiment.model(name, seed, size)  # what cannot be built is said before hours of training
    ledger = Ledger(out, settings)
    _run_all(experiment, plan, ledger, n_jobs, progress)
    comparison = Comparison(_sum_up(experiment, plan, ledger, seed), [ledger.runs[key] for key in plan], settings)
    if out is not None:
        comparison.report(Path(out) / "report.html")
    return comparison


def _sizes(sweep: str | None, batch_size: int, batch_sizes: Sequence[int] | None) -> list[int]:
    if sweep not in (None, "batch"):
        raise ValueError(f"sweep is {sweep!r}: it must be None or 'batch'")
    if sweep is None and batch_sizes is not None:
        raise ValueError("batch_sizes were given without sweep='batch': give both, or batch_size alone")
    sizes = list(batch_sizes or BATCH_SIZES) if sweep else [batch_size]
    if min(sizes) < 1:
        raise ValueError(f"a batch size is {min(sizes)}: it must be at least 1")
    return sizes


def _check_budget(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} is {count}: it must be at least 1")


def _fingerprint(experiment: Experiment, seed: int) -> str:
    """A digest of the initial network's names, shapes and values, so that a folder is not resumed with another."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = experiment.build_model()
    if not isinstance(model, nn.Module):
        raise TypeError(f"build_model returned a {type(model).__name__}: it must return a new nn.Module")
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name}{tuple(tensor.shape)}{float(tensor.double().sum()):.9g}".encode())
    return digest.hexdigest()[:16]


def _run_all(
    experiment: Experiment,
    plan: list[RunKey],
    ledger: Ledger,
    n_jobs: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Every run of the plan that is not in the ledger; each is kept as it ends."""
    missing = [key for key in plan if key not in ledger]
    done = len(plan) - len(missing)
    if progress is not None:
        progress(done, len(plan))
    with closing(_runs(experiment, missing, n_jobs)) as runs:
        for run in runs:
            ledger.add(run)
            done += 1
            if progress is not None:
                progress(done, len(plan))


def _runs(experiment: Experiment, keys: list[RunKey], n_jobs: int) -> Generator[Run, None, None]:
    if n_jobs == 1 or len(keys) < 2:
        for key in keys:
            yield experiment.run(key)
        return
    from joblib import Parallel, delayed

    yield from Parallel(n_jobs=n_jobs, return_as="generator_unordered")(delayed(experiment.run)(key) for key in keys)


def _sum_up(experiment: Experiment, plan: list[RunKey], ledger: Ledger, seed: int) -> list[MethodResult]:
    results = []
    for size in dict.fromkeys(key.batch_size for key in plan):
        groups = {
            name: [ledger.runs[key] for key in plan if key.batch_size == size and key.method == name]
            for name in experiment.methods
        }
        steps = {name: experiment.step(name, size, seed, plan[0].lr) for name in groups}
        weights = {name: held_bytes(step) for name, step in steps.items()}
        seconds = step_seconds(dict(steps), seed=seed)
        first = next(iter(groups.values()))
        for index, (name, runs) in enumerate(groups.items()):
            yardstick = first if index else None
            results.append(
                method_result(name, size, runs, yardstick, step_seconds=seconds[name], peak_bytes=weights[name])
            )
    return results
