"""Evidence: the claims of one paper as measured, with the tables and figures that show them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normkit.data.files import write_atomically
from normkit.papers._harness.claim import Claim
from normkit.papers._harness.paper import Paper
from normkit.papers._harness.records import Records

if TYPE_CHECKING:
    from normkit.report import Report

__all__ = ["Evidence", "Show"]


@dataclass(frozen=True)
class _Table:
    headers: list[str]
    rows: list[list[Any]]
    caption: str


@dataclass(frozen=True)
class _Figure:
    draw: Callable[[Any], None]
    caption: str
    alt: str


class Show:
    """The `show` of a judge: tables and figures for the report, kept in order and drawn only when a report is made."""

    def __init__(self) -> None:
        self.exhibits: list[_Table | _Figure] = []

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> None:
        """Add a table; floats are shown to four significant digits.

        Raises:
            ValueError: a row has another number of cells than there are headers.
        """
        uneven = next((row for row in rows if len(row) != len(headers)), None)
        if uneven is not None:
            raise ValueError(f"the table has {len(headers)} headers, but a row of {len(uneven)}: {uneven}")
        self.exhibits.append(_Table(list(headers), [list(row) for row in rows], caption))

    def figure(self, draw: Callable[[Any], None], *, caption: str, alt: str) -> None:
        """Add a figure: `draw(axes)` is called with matplotlib axes when the report is made."""
        self.exhibits.append(_Figure(draw, caption, alt))


@dataclass(frozen=True)
class Evidence:
    """What `reproduce` returns.

    Attributes:
        paper: the paper.
        scale, seed: what was asked for.
        claims: every claim with bound, figure and whether it holds.
        records: the figures of all runs.
        exhibits: tables and figures of the judge.
        seconds: time in the runs, summed (resumed ones included).
    """

    paper: Paper
    scale: str
    seed: int
    claims: list[Claim]
    records: Records
    exhibits: list[_Table | _Figure] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def slug(self) -> str:
        """The paper's slug."""
        return self.paper.slug

    @property
    def failed(self) -> list[Claim]:
        """The claims that were judged and do not hold."""
        return [claim for claim in self.claims if claim.holds is False]

    def __str__(self) -> str:
        said = {True: "holds", False: "DOES NOT HOLD", None: "not judged"}
        lines = [f"{self.slug}, {self.scale} scale"]
        for claim in self.claims:
            reason = f" ({claim.reason})" if claim.reason else ""
            lines.append(
                f"{said[claim.holds]}: {claim.statement}: measured {claim.measured}, bound {claim.bound}{reason}"
            )
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The object of `normkit reproduce SLUG --json`, less the envelope."""
        claims = [claim.to_dict() for claim in self.claims]
        return {"slug": self.slug, "scale": self.scale, "seed": self.seed, "claims": claims}

    def report(self) -> "Report":
        """The report a person reads: the paper, its claims, and the tables and figures behind them."""
        from normkit.report import Report

        paper = self.paper
        report = Report(paper.title, lead=f"{', '.join(paper.authors)}, {paper.year}. {paper.remedy}")
        report.heading("The pathology and its nuisance")
        report.text(f"{paper.pathology} The remedy takes out: {paper.nuisance}.")
        report.heading("Claims")
        self._verdict(report)
        report.table(
            ["claim", "bound", "measured", "n", "verdict", "source"],
            [_row(claim) for claim in self.claims],
            caption=f"Scale {self.scale}, seeds from {self.seed}; {self.seconds:.0f} s in the runs.",
        )
        for exhibit in self.exhibits:
            self._exhibit(report, exhibit)
        report.heading("Where it lives")
        report.table(["name"], [[name] for name in paper.provides])
        report.code(f"normkit reproduce {self.slug} --scale {self.scale} --seed {self.seed}", caption="Run it again")
        return report

    def write(self, folder: Path) -> Path:
        """Write `evidence.json` and `report.html` into `folder`, each whole or not at all; returns the report."""
        from normkit.report import envelope

        payload = envelope(self.to_dict(), seconds=self.seconds)
        write_atomically(folder / "evidence.json", json.dumps(payload, indent=1, ensure_ascii=False, allow_nan=False))
        return self.report().write(folder / "report.html")

    def _verdict(self, report: "Report") -> None:
        judged = [claim for claim in self.claims if claim.holds is not None]
        if not judged:
            report.note("info", "Nothing is judged at this scale.")
        elif self.failed:
            report.note("act", f"{len(self.failed)} of {len(judged)} judged claims do not hold here.")
        else:
            report.note("ok", f"All {len(judged)} judged claims hold here.")

    def _exhibit(self, report: "Report", exhibit: _Table | _Figure) -> None:
        from normkit.report import new_figure

        if isinstance(exhibit, _Table):
            report.table(exhibit.headers, exhibit.rows, caption=exhibit.caption)
            return
        drawing, axes = new_figure()
        exhibit.draw(axes)
        report.figure(drawing, caption=exhibit.caption, alt=exhibit.alt)


def _row(claim: Claim) -> list[str]:
    verdict = claim.verdict + (f": {claim.reason}" if claim.reason else "")
    return [claim.statement, claim.bound_text, claim.measured_text, str(claim.n), verdict, claim.source]
