"""`normkit show PAPER`: one paper, its remedy, where it lives and how to use it."""

import time
from typing import Annotated

import typer
from rich.console import Console

from normkit.cli._shell import Debug, Json, emit
from normkit.papers import Paper, get


def command(
    slug: Annotated[str, typer.Argument(help="The paper; `normkit list` shows all.")],
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show one paper: pathology, nuisance, remedy, the names it provides, and the commands that go with it."""
    start = time.perf_counter()
    paper = get(slug)
    emit(paper.to_dict(), json=json, seconds=time.perf_counter() - start, human=lambda console: _print(console, paper))


def _print(console: Console, paper: Paper) -> None:
    console.print(f"[bold]{paper.title}[/bold]")
    arxiv = f", arXiv:{paper.arxiv}" if paper.arxiv else ""
    console.print(f"{', '.join(paper.authors)}, {paper.year}{arxiv}\n", highlight=False)
    for name, text in (("pathology", paper.pathology), ("takes out", paper.nuisance), ("remedy", paper.remedy)):
        console.print(f"[bold]{name}[/bold]  {text}", highlight=False)
    console.print(f"[bold]provides[/bold]  {', '.join(paper.provides)}\n", highlight=False)
    for line in _commands(paper):
        console.print(line, highlight=False, markup=False, soft_wrap=True)  # an extra stands in brackets


def _commands(paper: Paper) -> list[str]:
    lines = [f"normkit reproduce {paper.slug}"]
    if paper.probe:
        lines.append(f"normkit diagnose {_what_is_examined(paper.probe)}--probes {paper.probe}")
    if paper.rule:
        lines.append(f"normkit convert --model package.module:function --to {paper.rule}")
    if paper.extra:
        lines.append(f'pip install "normkit[{paper.extra}]"')
    return lines


def _what_is_examined(probe: str) -> str:
    from normkit.diagnosis import probes

    return "--data table.csv " if "table" in probes()[probe].needs else ""
