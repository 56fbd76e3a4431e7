"""`reproduce`: run a paper's claims in small and say which hold."""

from collections.abc import Callable
from pathlib import Path

from normkit.data.files import writable_folder
from normkit.papers._harness.claim import Ledger
from normkit.papers._harness.evidence import Evidence, Show
from normkit.papers._harness.paper import SCALES, Paper
from normkit.papers._harness.records import Records
from normkit.papers._harness.registry import get
from normkit.papers._harness.runs import measure

__all__ = ["reproduce"]

# Draws of random input on which an exact invariance is checked.
_DRAWS = 3


def reproduce(
    paper: Paper | str,
    *,
    scale: str = "embedded",
    seed: int = 0,
    out: str | Path | None = None,
    n_jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evidence:
    """Run the claims of `paper` at `scale` and judge them; a claim that does not hold is returned as such.

    Args:
        paper: a paper or its slug.
        scale: "smoke" (seconds, nothing is judged), "embedded" (minutes, no download) or "full" (the paper's own size).
        seed: the first seed; a run with n seeds uses seed, seed+1, …, seed+n−1.
        out: folder for `<slug>/evidence.json`, `<slug>/report.html` and the figures of each run, from which a killed
            job goes on; None writes nothing.
        n_jobs: processes of one torch thread each; default as many as there are cores.
        progress: called with (runs done, runs in all).

    Raises:
        ValueError: unknown paper or scale, or a scale at which the paper has no run.
        RunError: a run raised.
        OSError: `out` cannot be written.
    """
    if isinstance(paper, str):
        paper = get(paper)
    _check(paper, scale)
    folder = None if out is None else writable_folder(Path(out) / paper.slug, force=True)
    records_folder = None if folder is None else writable_folder(folder / "records", force=True)
    measured = measure(paper, scale, seed=seed, folder=records_folder, n_jobs=n_jobs, progress=progress)
    records = Records(
        record | {"run": result.run, "seed": result.seed} for result in measured for record in result.records
    )
    show, claim = Show(), Ledger(scale, records.seeds)
    assert paper.judge_function is not None
    paper.judge_function(records, claim, show)
    _invariances(paper, claim, seed)
    seconds = sum(result.seconds for result in measured)
    evidence = Evidence(paper, scale, seed, claim.claims, records, show.exhibits, seconds)
    if folder is not None:
        evidence.write(folder)
    return evidence


def _check(paper: Paper, scale: str) -> None:
    if scale not in SCALES:
        raise ValueError(f"scale {scale!r} is none of {', '.join(SCALES)}")
    if not paper.runs_at(scale):
        there = ", ".join(dict.fromkeys(run.scale for run in paper.runs)) or "none"
        raise ValueError(f"{paper.slug} has no run at scale {scale!r}; it has: {there}")
    if paper.judge_function is None:
        raise ValueError(f"{paper.slug} has no judge; mark a function of its module with @paper.judge")


def _invariances(paper: Paper, claim: Ledger, seed: int) -> None:
    for invariance in paper.invariances:
        gap = Records({"gap": invariance.gap(seed + draw)} for draw in range(_DRAWS)).largest("gap")
        claim(
            f"{invariance.statement} (largest relative difference)",
            gap,
            at_most=invariance.tolerance,
            n=_DRAWS,
            source="exact by construction",
        )
