"""`normkit compare`: the same network under several methods, on one grid of learning rates and paired seeds."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from torch import nn

from normkit.cli._inputs import data_from, model_from
from normkit.cli._shell import Debug, Json, emit, progress
from normkit.comparison import Comparison, compare, embedded

_DEFAULT = ",".join(embedded.METHODS)

Methods = Annotated[
    str,
    typer.Option(help="Comma-separated; each `baseline`, a rule, or rules joined by +. The first is the yardstick."),
]
Model = Annotated[str | None, typer.Option(help="package.module:function that returns a new nn.Module.")]
Data = Annotated[str | None, typer.Option(help="A data set's name, a .npz with X and y, or package.module:function.")]
Rates = Annotated[str | None, typer.Option(help="Comma-separated learning rates (default 0.05 × 0.1, 0.3, 1, 3, 10).")]
Sweep = Annotated[str | None, typer.Option(help="`batch` repeats everything for each of --batch-sizes.")]
Sizes = Annotated[str | None, typer.Option(help="Comma-separated, with --sweep batch (default 1, 2, 4 … 256).")]
Size = Annotated[int | None, typer.Option(min=1, help="Samples a step (default 4 on the embedded data, else 32).")]
Steps = Annotated[
    int | None, typer.Option(min=1, help="Optimiser steps of a run (default 400 on the embedded data, else 200).")
]
Out = Annotated[Path | None, typer.Option(help="Keeps every run as it ends and gets report.html; a rerun goes on.")]


def command(
    methods: Methods = _DEFAULT,
    model: Model = None,
    data: Data = None,
    seeds: Annotated[int, typer.Option(min=1, help="Paired runs of each method and rate.")] = 3,
    steps: Steps = None,
    lrs: Rates = None,
    sweep: Sweep = None,
    batch_sizes: Sizes = None,
    batch_size: Size = None,
    out: Out = None,
    n_jobs: Annotated[int, typer.Option(help="Processes; -1 is one for each core.")] = -1,
    seed: Annotated[int, typer.Option(help="The first of the seeds.")] = 0,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train the same network under each method and show its quality at its best and at its worst learning rate.

    Without --model and --data a small plain BatchNorm net is trained on scikit-learn's digits, four images a step.
    """
    start = time.perf_counter()
    build, split = _subject(model, data, batch_size or 32, seed)
    batch_size = batch_size or (embedded.BATCH_SIZE if data is None else 32)
    steps = steps or (embedded.STEPS if data is None else 200)
    with _bar() as advance:
        comparison = compare(
            build,
            split,
            [_method(text) for text in methods.split(",")],
            seeds=seeds,
            steps=steps,
            lrs=None if lrs is None else _numbers(lrs, float, "--lrs"),
            sweep=sweep,
            batch_size=batch_size,
            batch_sizes=None if batch_sizes is None else _numbers(batch_sizes, int, "--batch-sizes"),
            out=out,
            n_jobs=n_jobs,
            seed=seed,
            progress=advance,
        )
    payload = comparison.to_dict() | {"report": None if out is None else str(out / "report.html")}
    seconds = time.perf_counter() - start
    emit(payload, json=json, seconds=seconds, human=lambda console: _print(console, comparison, out))


def _subject(model: str | None, data: str | None, batch_size: int, seed: int) -> tuple[Callable[[], nn.Module], Any]:
    """What is trained and on what; both or neither are the user's."""
    if (model is None) != (data is None):
        given, missing = ("--model", "--data") if data is None else ("--data", "--model")
        raise ValueError(f"{given} was given without {missing}: a comparison of your own needs both")
    if model is None:
        return embedded.build_model, embedded.digits()
    return _Builder(model), data_from(data, batch_size=batch_size, seed=seed)


class _Builder:
    """Builds the user's model by name, so that it can be sent to other processes."""

    def __init__(self, reference: str) -> None:
        self.reference = reference

    def __call__(self) -> nn.Module:
        built, _ = model_from(self.reference)
        assert built is not None
        return built


def _method(text: str) -> Any:
    slugs = [slug.strip() for slug in text.split("+")]
    if "" in slugs:
        raise ValueError(f"--methods holds {text!r}: write names separated by commas, rules joined by +")
    return slugs[0] if len(slugs) == 1 else slugs


def _numbers(text: str, kind: Callable[[str], Any], option: str) -> list[Any]:
    try:
        return [kind(each) for each in text.split(",")]
    except ValueError:
        raise ValueError(f"{option} is {text!r}: numbers separated by commas are wanted") from None


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    with progress("runs") as advance:
        shown = 0

        def report(done: int, total: int) -> None:
            nonlocal shown
            advance(done - shown, total=total)
            shown = done

        yield report


def _print(console: Console, comparison: Comparison, out: Path | None) -> None:
    console.print(comparison)
    if out is not None:
        console.print(f"The page with curves: {out / 'report.html'}", soft_wrap=True)
