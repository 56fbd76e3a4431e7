"""The table of all papers' claims, as the documentation prints it: `python -m normkit.papers._harness.claims_page`."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from normkit.data.files import write_atomically
from normkit.papers._harness.everything import Outcome, reproduce_all
from normkit.papers._harness.evidence import Evidence

__all__ = ["main", "page"]

_MARKS = {True: "holds", False: "**does not hold**", None: "not judged"}


def page(outcomes: Iterable[Outcome]) -> str:
    """The page in Markdown: one table a paper, every claim with its bound, its figure and its verdict."""
    from normkit.report import machine, versions

    outcomes = list(outcomes)
    where = machine()
    lines = [
        "# Claims",
        "",
        "Written by `make claims`; every figure was measured by `normkit reproduce --all`. A claim that does not hold "
        "here is printed as such, and what was not judged says why.",
        "",
        f"Machine: {where['cpu']}, {where['cores']} cores, {where['system']}; "
        + ", ".join(f"{name} {version}" for name, version in versions().items())
        + ".",
        "",
    ]
    for outcome in outcomes:
        lines += [f"## {outcome.paper.slug}", "", _citation(outcome), ""]
        lines += _table(outcome.evidence) if outcome.evidence else [f"Not run: {outcome.error}", ""]
    return "\n".join(lines)


def _citation(outcome: Outcome) -> str:
    paper = outcome.paper
    arxiv = f", arXiv:{paper.arxiv}" if paper.arxiv else ""
    return f"{', '.join(paper.authors)}: *{paper.title}*, {paper.year}{arxiv}."


def _table(evidence: Evidence) -> list[str]:
    lines = [
        f"Scale `{evidence.scale}`, seeds from {evidence.seed}, {evidence.seconds:.0f} s.",
        "",
        "| claim | bound | measured | n | verdict | source |",
        "|---|---|---|---|---|---|",
    ]
    for claim in evidence.claims:
        verdict = _MARKS[claim.holds] + (f": {claim.reason}" if claim.reason else "")
        cells = (claim.statement, claim.bound_text, claim.measured_text, str(claim.n), verdict, claim.source)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return [*lines, ""]


def main(arguments: list[str] | None = None) -> int:
    """Reproduce all papers at embedded scale, resuming in `--out`, and write the page; 1 where a paper did not run."""
    parser = argparse.ArgumentParser(prog="python -m normkit.papers._harness.claims_page", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("normkit-report/papers"), help="folder of the evidence")
    parser.add_argument("--page", type=Path, default=Path("docs/claims.md"), help="the page to write")
    parser.add_argument("--scale", default="embedded")
    chosen = parser.parse_args(arguments)
    outcomes = []
    for outcome in reproduce_all(scale=chosen.scale, out=chosen.out):
        outcomes.append(outcome)
        print(f"{outcome.paper.slug}: {outcome.summary}", file=sys.stderr)
    write_atomically(chosen.page, page(outcomes))
    return int(any(outcome.evidence is None for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
