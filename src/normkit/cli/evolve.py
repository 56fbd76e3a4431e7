"""`normkit evolve`: search for a layer that normalises and activates, on the embedded digits or the user's images."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from normkit import data as datasets
from normkit import search
from normkit.cli._evolution_page import page
from normkit.cli._inputs import data_from
from normkit.cli._shell import Debug, Json, emit, progress

Data = Annotated[str | None, typer.Option(help="A data set's name, a .npz with X and y, or package.module:function.")]
Names = Annotated[str, typer.Option(help=f"Networks to score on, of {', '.join(search.ARCHITECTURES)}; by commas.")]
Evaluations = Annotated[int, typer.Option(min=1, help="The search ends when so many candidates have been trained …")]
Proposals = Annotated[int | None, typer.Option(min=1, help="… or after so many proposals (default 50 for each).")]
Jobs = Annotated[int, typer.Option(help="Processes; -1 is one for each core. The result is the same.")]
Cluster = Annotated[str | None, typer.Option(help="Address of a Ray cluster, such as auto (extra `scale`).")]
Top = Annotated[int, typer.Option(min=1, help="How many of the best are trained anew, longer and with three seeds.")]
Out = Annotated[Path | None, typer.Option(help="Folder for the log, the best layers and a page; a rerun goes on.")]


def command(
    data: Data = None,
    ops: Annotated[str, typer.Option(help="B for all operations, S for those of one sample.")] = "B",
    sampler: Annotated[str, typer.Option(help="tree, or uniform as in the paper.")] = "tree",
    architectures: Names = "plain,res,mb",
    channels: Annotated[int, typer.Option(min=1, help="Width of the networks.")] = 12,
    blocks: Annotated[int, typer.Option(min=1, help="Blocks of the networks.")] = 4,
    groups: Annotated[int, typer.Option(min=1, help="Groups of channels; they divide the width.")] = 4,
    steps: Annotated[int, typer.Option(min=1, help="Steps of a training.")] = search.Protocol.steps,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a step.")] = search.Protocol.batch_size,
    evaluations: Evaluations = 200,
    proposals: Proposals = None,
    top: Top = 5,
    out: Out = None,
    n_jobs: Jobs = -1,
    cluster: Cluster = None,
    device: Annotated[str, typer.Option(help="Where networks are trained: cpu, cuda, cuda:1 …")] = "cpu",
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Evolve layers that normalise and activate, and train the best anew beside BatchNorm and GroupNorm with ReLU.

    Without --data the images are scikit-learn's digits. The best layers leave as pictures, as Python source in plain
    torch and as graphs for `normkit.nn.GraphNorm2d`.
    """
    start = time.perf_counter()
    task = _task(data, seed, device)
    nets = {
        name: partial(net, channels=channels, blocks=blocks)
        for name, net in search.chosen([name.strip() for name in architectures.split(",")]).items()
    }
    protocol = search.Protocol(groups=groups, steps=steps, batch_size=batch_size)
    found = search.Search(
        task.train,
        task.val,
        ops,
        nets,
        sampler,
        evaluations,
        seed,
        n_jobs,
        budget_proposals=proposals,
        cluster=cluster,
        protocol=protocol,
        device=device,
    )
    if out is not None:
        datasets.writable_folder(out, force=True)
    log = None if out is None else out / "search.jsonl"
    with _bar() as advance:
        if log is not None and log.exists():
            found.resume(log, progress=advance)
        else:
            found.run(log, progress=advance)
    with progress("training the best anew"):
        longer = protocol.longer()
        anew = partial(search.rerank, task=task, architectures=nets, protocol=longer, n_jobs=n_jobs, cluster=cluster)
        best = found.best(top)
        layers = anew([each.graph for each in best]) if best else []
        yardsticks = {name: anew([search.known[name]])[0] for name in ("batch-norm-relu", "group-norm-relu")}
    if out is not None:
        search.write(out, layers, found.settings)
        page(found, layers, yardsticks).write(out / "report.html")
    payload = {
        "settings": found.settings,
        "proposals": len(found.candidates),
        "fates": found.fates,
        "layers": [each.to_dict() for each in layers],
        "yardsticks": [{"name": name} | each.to_dict() for name, each in yardsticks.items()],
        "out": None if out is None else str(out),
    }
    shown = partial(_print, payload=payload)
    emit(payload, json=json, seconds=time.perf_counter() - start, human=shown, device=device)


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    with progress("candidates trained") as advance:
        shown = 0

        def report(done: int, total: int) -> None:
            nonlocal shown
            advance(done - shown, total=total)
            shown = done

        yield report


def _task(name: str | None, seed: int, device: str) -> search.Task:
    """The digits as the published small search splits them; of other sets a part is kept for judging."""
    if name is None:
        x, y, x_val, y_val = datasets.digits("shifted", train=1200)
        return search.Task.of((x, y), (x_val, y_val), device)
    if ":" in name or name.endswith(".npz"):
        batches = list(data_from(name, batch_size=1024, seed=seed) or [])
        return search.Task.held_out(*(torch.cat(side) for side in zip(*batches, strict=True)), seed=seed, device=device)
    bunch = datasets.load(name)
    images, labels = bunch.part("train") if "train" in bunch.split else (bunch.X, bunch.y)
    highest = float(bunch.meta.details.get("highest", 255))
    return search.Task.held_out(datasets.as_images(images, highest), labels, seed=seed, device=device)


def _print(console: Console, payload: dict[str, Any]) -> None:
    table = Table(title="trained anew: accuracy in %, mean over three seeds", title_justify="left")
    table.add_column("layer", overflow="fold")
    names = list(payload["yardsticks"][0]["scores"])
    for header in (*names, "mean"):
        table.add_column(header, justify="right")
    for row in payload["layers"] + payload["yardsticks"]:
        figures = (*(row["scores"][name] for name in names), row["mean"])
        table.add_row(row.get("name", row["formula"]), *(f"{100 * figure:.1f}" for figure in figures))
    if not payload["layers"]:
        console.print("No candidate passed the test: give more --evaluations, or another --seed.")
    met = ", ".join(f"{count} {fate}" for fate, count in payload["fates"].items() if count)
    console.print(f"{payload['proposals']} proposals: {met}", soft_wrap=True)
    console.print(table)
    if payload["out"] is not None:
        sources = "layer_1.py …, " if payload["layers"] else ""
        console.print(
            f"search.jsonl (the log), best.json, {sources}report.html are in {payload['out']}", soft_wrap=True
        )
