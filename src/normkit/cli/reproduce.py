"""`normkit reproduce`: run a paper's claims in small and print which hold."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from normkit.cli._shell import Debug, Json, emit, progress
from normkit.papers import SCALES, Evidence, Outcome, get, papers, reproduce, reproduce_all

_STYLES = {True: "green", False: "red", None: "dim"}


def command(
    slug: Annotated[str | None, typer.Argument(help="The paper; `normkit list` shows all.")] = None,
    scale: Annotated[str, typer.Option(help=f"How large: {', '.join(SCALES)}.")] = "embedded",
    seed: Annotated[int, typer.Option(help="First seed of every run.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder for SLUG/report.html and the figures, from which a killed job goes on.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All papers; resumes in --out (normkit-report/papers).")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 where a claim does not hold.")] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Run a paper's claims in small; each says its bound, what was measured, and whether it holds."""
    if (slug is None) is not every:
        raise ValueError("name one paper or say --all, and not both: normkit reproduce SLUG, normkit reproduce --all")
    if scale not in SCALES:
        raise ValueError(f"scale {scale!r} is none of {', '.join(SCALES)}")
    start = time.perf_counter()
    if slug is None:
        outcomes = _run_all(scale, seed, out or Path("normkit-report/papers"))
        payload: dict[str, Any] = {"scale": scale, "papers": [_entry(outcome) for outcome in outcomes]}
    else:
        outcomes = [Outcome(get(slug), _run_one(slug, scale, seed, out))]
        payload = _entry(outcomes[0])
    emit(payload, json=json, seconds=time.perf_counter() - start, human=lambda console: _print(console, outcomes, out))
    _exit(outcomes, strict)


def _run_one(slug: str, scale: str, seed: int, out: Path | None) -> Evidence:
    paper = get(slug)
    total = sum(run.seeds for run in paper.runs_at(scale))
    with progress(f"{slug}, {scale}", total=total) as advance:
        return reproduce(paper, scale=scale, seed=seed, out=out, progress=_steps(advance))


def _run_all(scale: str, seed: int, out: Path) -> list[Outcome]:
    everything = papers()
    outcomes = []
    with progress("papers", total=len(everything)) as advance:
        for outcome in reproduce_all(scale=scale, seed=seed, out=out, among=everything):
            outcomes.append(outcome)
            advance(description=f"{outcome.paper.slug}: {outcome.summary}")
    return outcomes


def _steps(advance: Any) -> Any:
    """Turn (done, total) into the steps since the last call."""
    before = 0

    def report(done: int, total: int) -> None:
        nonlocal before
        advance(done - before)
        before = done

    return report


def _entry(outcome: Outcome) -> dict[str, Any]:
    if outcome.evidence is None:
        return {"slug": outcome.paper.slug, "claims": [], "error": outcome.error, "skipped": outcome.skipped}
    return outcome.evidence.to_dict()


def _print(console: Console, outcomes: list[Outcome], out: Path | None) -> None:
    reasons = [claim.reason for each in outcomes if each.evidence for claim in each.evidence.claims if claim.reason]
    shared = next((reason for reason in dict.fromkeys(reasons) if reasons.count(reason) > 2), None)
    table = Table(title=outcomes[0].paper.slug if len(outcomes) == 1 else None, title_justify="left")
    for header in ("claim", "bound", "measured", "n", "verdict"):
        table.add_column(header, overflow="fold", no_wrap=header in ("bound", "n"))
    for outcome in outcomes:
        if len(outcomes) > 1:
            table.add_row(f"[bold]{outcome.paper.slug}[/bold]")
        if outcome.evidence is None:
            table.add_row(f"[red]not run: {outcome.error}[/red]", "", "", "", "")
            continue
        for claim in outcome.evidence.claims:
            verdict = claim.verdict + (f": {claim.reason}" if claim.reason and claim.reason != shared else "")
            cells = (claim.statement, claim.bound_text, claim.measured_text, str(claim.n))
            table.add_row(*cells, f"[{_STYLES[claim.holds]}]{verdict}[/]")
    console.print(table)
    if shared is not None:
        console.print(f"not judged, where nothing else is said: {shared}")
    if len(outcomes) == 1 and out is not None:
        console.print(f"report: {out / outcomes[0].paper.slug / 'report.html'}")


def _exit(outcomes: list[Outcome], strict: bool) -> None:
    if any(outcome.error and not outcome.skipped for outcome in outcomes):
        raise typer.Exit(2)
    if strict and any(outcome.evidence and outcome.evidence.failed for outcome in outcomes):
        raise typer.Exit(1)
