"""`normkit private build|query`: release a noisy structure of a private table once, then ask it anything."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from normkit.cli._inputs import Header
from normkit.cli._shell import Debug, Group, Json, emit, progress

__all__ = ["app"]

app = typer.Typer(
    cls=Group,
    rich_markup_mode="markdown",
    no_args_is_help=True,
    add_completion=False,
    help="Similarities to private rows: release one noisy structure, then query it without limit.",
)

Force = Annotated[bool, typer.Option("--force", help="Write over a file that is there.")]


@app.command()
def build(
    table: Annotated[
        Path, typer.Argument(help="The private table: numbers separated by commas, semicolons or tabs, a row a line.")
    ],
    out: Annotated[Path, typer.Option(help="The release to write, such as release.safetensors.")],
    epsilon: Annotated[float, typer.Option(help="ε, the budget of this release.")],
    delta: Annotated[float, typer.Option(help="δ; 0 gives pure privacy and Laplace noise, above 0 Gaussian.")] = 0.0,
    kernel: Annotated[
        str | None,
        typer.Option(
            help="Sum of kernels: gaussian, exponential, laplacian, cauchy, inv_l2, inv_l1. With --label also inner."
        ),
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Sum of distances instead: l1, l2, sqeuclidean, lp; needs --low and --high.")
    ] = None,
    p: Annotated[float | None, typer.Option(help="The power, for --metric lp.")] = None,
    bandwidth: Annotated[
        float | None, typer.Option(help="Of the kernel, in the unit of the table [default: 1].")
    ] = None,
    features: Annotated[
        int | None, typer.Option(min=1, help="Frequencies of the kernel: at most n ε [default: 512].")
    ] = None,
    projections: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Kernels: project rows to so many dimensions first [default: none]. --metric l2: directions "
            "[default: 64].",
        ),
    ] = None,
    low: Annotated[float | None, typer.Option(help="Public lower bound of every column, for distances.")] = None,
    high: Annotated[float | None, typer.Option(help="Public upper bound of every column, for distances.")] = None,
    label: Annotated[str | None, typer.Option(help="Column of class labels: a classifier is released.")] = None,
    classes: Annotated[str | None, typer.Option(help="All labels that could occur, with commas between them.")] = None,
    neighbours: Annotated[
        str, typer.Option(help="One record is: add_remove (a row more or less) or replace_one (n is public).")
    ] = "add_remove",
    noise: Annotated[
        str, typer.Option(help="opendp (exact samplers), or fast (its error is counted in delta).")
    ] = "opendp",
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Seed of the public frequencies; the noise is never seeded.")
    ] = 0,
    header: Header = "auto",
    force: Force = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Release one noisy structure of a private table; each build spends its ε and δ anew, and queries spend nothing."""
    start = time.perf_counter()
    from normkit.estimators.private.tables import build_release

    budget = {"epsilon": epsilon, "delta": delta, "neighbours": neighbours, "noise": noise}
    if (low is None) is not (high is None):
        raise ValueError("--low and --high bound the columns of a distance: give both")
    bounds = None if low is None or high is None else (low, high)
    with progress("releasing"):
        done = build_release(
            table,
            out,
            header=header,
            kernel=kernel,
            metric=metric,
            p=p,
            bandwidth=bandwidth,
            features=features,
            projections=projections,
            bounds=bounds,
            label=label,
            classes=None if classes is None else [name.strip() for name in classes.split(",")],
            seed=seed,
            force=force,
            **budget,
        )
    emit(done, json=json, seconds=time.perf_counter() - start, human=lambda console: _say_built(console, done))


@app.command()
def query(
    release: Annotated[Path, typer.Argument(help="What `normkit private build` has written.")],
    table: Annotated[
        Path, typer.Argument(help="The queries: a table with the release's columns, by name where both have names.")
    ],
    out: Annotated[Path, typer.Option(help="The CSV to write: an answer a line.")],
    mean: Annotated[
        bool, typer.Option("--mean", help="Divide by the released number of rows (not for classes).")
    ] = False,
    header: Header = "auto",
    force: Force = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Answer every line of a table; this spends nothing, however many lines there are.

    The columns of --out: *sum* (or *mean*), of the kernel or the distance over the private rows; *noise_std*, the
    standard deviation of the privacy noise in it; *error_std*, that of its whole error, noise and approximation.
    For a release of classes: *class*.
    """
    start = time.perf_counter()
    from normkit.estimators.private.tables import answer_queries

    with progress("answering") as advance:
        done = answer_queries(release, table, out, header=header, mean=mean, force=force, advance=advance)
    emit(done, json=json, seconds=time.perf_counter() - start, human=lambda console: _say_answered(console, done))


def _say_built(console: Console, done: dict[str, Any]) -> None:
    spend = done["spend"]
    console.print(
        f"{done['kind']}: released {done['numbers']} numbers with {spend['mechanism']} noise of scale "
        f"{spend['scale']:.4g}; spent ε = {spend['epsilon']:g}, δ = {spend['delta']:g} ({spend['relation']})"
    )
    if done["warning"]:
        console.print(f"warning: {done['warning']}")
    console.print(f"read: {done['read']}", markup=False, soft_wrap=True)
    if done["names"]:
        console.print(
            f"written into the release as names of columns: {', '.join(done['names'])}", markup=False, soft_wrap=True
        )
    console.print("The rows can be forgotten; a second build of the same rows adds to what is spent.")
    console.print(f"written: {done['written']}", soft_wrap=True)


_COLUMNS = {
    "sum": "over the private rows",
    "mean": "the sum over the released number of rows",
    "noise_std": "standard deviation of the privacy noise in it",
    "error_std": "standard deviation of its whole error, noise and approximation",
    "class": "the most similar one",
}


def _say_answered(console: Console, done: dict[str, Any]) -> None:
    console.print(f"{done['queries']} answers ({done['kind']}); nothing was spent")
    console.print(f"read: {done['queries']} rows of {done['read']}", markup=False, soft_wrap=True)
    if done["left_out"]:
        console.print(f"left out, as the release has no such columns: {', '.join(done['left_out'])}", markup=False)
    if not done["by_name"]:
        console.print("columns were taken in order, as the release or the table has no names")
    for column in done["columns"]:
        console.print(f"  {column:<10} {_COLUMNS[column]}", highlight=False)
    console.print(f"written: {done['written']}", soft_wrap=True)
