"""`normkit list`: the papers and what each takes out."""

import time

from rich.console import Console
from rich.table import Table

from normkit.cli._shell import Debug, Json, emit
from normkit.papers import Paper, papers


def command(
    json: Json = False,
    debug: Debug = False,
) -> None:
    """List the papers: the nuisance each takes out, what it provides, its probe and its rule."""
    start = time.perf_counter()
    chosen = papers()
    payload = {"papers": [paper.to_dict() for paper in chosen]}
    emit(payload, json=json, seconds=time.perf_counter() - start, human=lambda console: _print(console, chosen))


def _print(console: Console, chosen: list[Paper]) -> None:
    table = Table()
    for header in ("paper", "takes out", "diagnose", "convert"):  # whole names: they are typed again
        table.add_column(header, overflow="fold", no_wrap=header != "takes out")
    for paper in chosen:
        table.add_row(paper.slug, paper.nuisance, paper.probe or "–", paper.rule or "–")
    console.print(table)
    console.print("normkit show PAPER says more; normkit reproduce PAPER checks its claims.")
