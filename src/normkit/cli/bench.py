"""`normkit bench`: speed and error against named peers, on this machine."""

import time
from pathlib import Path
from typing import Annotated

import typer

from normkit.cli._shell import Debug, Json, console, emit, progress, stderr

__all__ = ["command"]


def command(
    names: Annotated[list[str] | None, typer.Argument(help="Operations or families; all by default.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or all.")] = "cpu",
    quick: Annotated[bool, typer.Option("--quick", help="Few sizes and rounds, for a first look.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for bench.json, the roofline and report.html.")] = None,
    against: Annotated[Path | None, typer.Option(help="A bench.json; exit 1 where a ratio fell by > 10 %.")] = None,
    threads: Annotated[list[int] | None, typer.Option(help="Thread counts; repeat for more. One and all.")] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="Time torch.compile too (slow to start).")] = False,
    minutes: Annotated[float | None, typer.Option(help="Begin nothing after so many; say what is left out.")] = None,
    tune: Annotated[
        bool, typer.Option("--tune", help="Instead, see whether other thresholds, or another kernel, are faster here.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of inputs and order.")] = 0,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Time operations against their peers and this machine's copy speed, in interleaved rounds.

    First as a network calls them (all threads, forward and backward), then kernel by kernel. What is not right
    against float64 is not timed. A ratio above 1 says that normkit is faster. *growth* is how the cost of an estimator
    grows with its data; its rows are printed as they are measured, and with --quick it takes half a minute.
    """
    from normkit.benchmarks import PrintedLive, Table, bench, growths, print_changes

    if tune:
        _tune(names, device, quick, minutes, seed, json)
        return
    before = Table.read(against) if against else None
    start = time.perf_counter()
    printed = None if json else PrintedLive(console, growths(names or None))
    with progress("bench") as advance:
        table = bench(
            names or None,
            device=device,
            quick=quick,
            out=out,
            threads=threads or None,
            compiled=compiled,
            minutes=minutes,
            seed=seed,
            progress=lambda line: advance(1, line),
            measured=printed,
        )
    changes = table.against(before) if before else []
    emit(
        table.payload,
        json=json,
        seconds=time.perf_counter() - start,
        device=device,
        human=lambda _: printed.end(table) if printed else None,
    )
    if before:
        print_changes(changes, stderr)
    if any(change.regression for change in changes):
        raise typer.Exit(1)


def _tune(names: list[str] | None, device: str, quick: bool, minutes: float | None, seed: int, json: bool) -> None:
    from rich.console import Console

    from normkit import benchmarks

    start = time.perf_counter()
    chosen, kinds = benchmarks.suites(names or None), benchmarks.devices(device)
    thresholds, crossed, gpu = [], [], None
    with progress("bench --tune") as advance:

        def step(line: str) -> None:
            advance(1, line)

        if "cpu" in kinds:
            thresholds = benchmarks.tune(seed=seed, progress=step)
            crossed = benchmarks.crossovers(chosen, seed=seed, progress=step)
        if "cuda" in kinds:
            gpu = benchmarks.tune_gpu((each.op for each in chosen), quick=quick, minutes=minutes, progress=step)

    def show(console: Console) -> None:
        if "cpu" in kinds:
            benchmarks.print_tuned(thresholds, console)
            benchmarks.print_crossovers(crossed, console)
        if gpu is not None:
            benchmarks.print_tuned_gpu(gpu, console)

    payload = {
        "thresholds": [each._asdict() for each in thresholds],
        "crossovers": [each._asdict() for each in crossed],
        "gpu": None if gpu is None else gpu._asdict(),
    }
    emit(payload, json=json, seconds=time.perf_counter() - start, device=device, human=show)
