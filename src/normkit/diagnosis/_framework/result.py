"""What an examination found, for a person, a program and a page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normkit.diagnosis._framework.finding import SEVERITIES, Finding, Severity, Skipped, worst
from normkit.extras import require

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Diagnosis"]

_STYLE = {"ok": "green", "watch": "yellow", "act": "bold red"}


@dataclass(frozen=True)
class Diagnosis:
    """The findings of all probes that ran, and why the others did not.

    Attributes:
        findings: one for each probe that ran, the gravest first.
        skipped: the probes that could not run, each with what to pass.
        model: class name of the model.
        samples, batches: how much data was seen.
        seconds: wall time of the examination in s.
        device: where the model was.
    """

    findings: tuple[Finding, ...]
    skipped: tuple[Skipped, ...] = ()
    model: str = ""
    samples: int = 0
    batches: int = 0
    seconds: float = 0.0
    device: str = "cpu"
    costs: Mapping[str, str] = field(default_factory=dict)

    @property
    def severity(self) -> Severity:
        """The gravest of the findings' severities."""
        return worst([finding.severity for finding in self.findings])

    def __getitem__(self, probe: str) -> Finding:
        """The finding of the probe with this slug.

        Raises:
            KeyError: that probe did not run; says why where that is known.
        """
        for finding in self.findings:
            if finding.probe == probe:
                return finding
        reason = next((each.reason for each in self.skipped if each.probe == probe), "it was not asked for")
        raise KeyError(f"no finding of {probe}: {reason}")

    def reaches(self, severity: str) -> bool:
        """Whether a finding is as grave as `severity` ("watch" or "act") or graver.

        Raises:
            ValueError: an unknown severity.
        """
        if severity not in SEVERITIES:
            raise ValueError(f"severity is {severity!r}: it must be one of {', '.join(SEVERITIES)}")
        return SEVERITIES.index(self.severity) >= SEVERITIES.index(severity)

    def for_model(self, arguments: str, data: str = "") -> "Diagnosis":
        """The same with the reader's own `--model …` and `--data …` in every line of shell."""
        findings = [
            replace(each, remedies=tuple(remedy.for_model(arguments, data) for remedy in each.remedies))
            for each in self.findings
        ]
        return replace(self, findings=tuple(findings))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: `{"findings": […], "skipped": […], "treatment": null, …}`."""
        from normkit.report import jsonable

        payload = {
            "model": self.model,
            "samples": self.samples,
            "batches": self.batches,
            "findings": [finding.to_dict() for finding in self.findings],
            "skipped": [skipped.to_dict() for skipped in self.skipped],
            "treatment": None,
        }
        result: dict[str, Any] = jsonable(payload)
        return result

    def to_json(self, indent: int | None = 2) -> str:
        """The same as text, within the envelope (schema, versions, device, seconds)."""
        from normkit.report import envelope

        payload = envelope(self.to_dict(), seconds=self.seconds, device=self.device)
        return json.dumps(payload, indent=indent, ensure_ascii=False, allow_nan=False)

    def to_frame(self) -> Any:
        """A pandas DataFrame with one row for each place: probe, path, figure, severity and the details as columns.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        pandas = require("pandas")
        rows = [
            {"probe": finding.probe, **site.to_dict(), "unit": finding.unit, "threshold": finding.threshold}
            for finding in self.findings
            for site in finding.sites
        ]
        return pandas.DataFrame(rows)

    def report(self, path: str | Path) -> Path:
        """Write one self-contained HTML page with a figure for every probe; returns its path.

        Raises:
            OSError: the folder cannot be written; the message names it.
        """
        from normkit.diagnosis._framework.drawing import diagnosis_page

        return diagnosis_page(self).write(path)

    def __str__(self) -> str:
        from normkit.report import plain

        return plain(self)

    def __rich__(self) -> "RenderableType":
        from rich.console import Group
        from rich.text import Text

        parts: list[RenderableType] = [_table(self.findings)]
        for finding in self.findings:
            if finding.severity != "ok":
                parts.append(_advice(finding))
        for reason in dict.fromkeys(each.reason for each in self.skipped):
            probes = ", ".join(each.probe for each in self.skipped if each.reason == reason)
            parts.append(Text(f"skipped {probes}: {reason}", style="dim"))
        return Group(*parts)


def _table(findings: Sequence[Finding]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("probe", "", "figure", "act above", "worst at"):
        table.add_column(name, overflow="fold")
    for finding in findings:
        site = finding.worst_site
        severity = f"[{_STYLE[finding.severity]}]{finding.severity}[/]"
        where = site.path or "(model)" if site and finding.figure else "–"
        table.add_row(finding.probe, severity, f"{finding.figure:.3g}", f"{finding.threshold:.3g}", where)
    return table


def _advice(finding: Finding) -> Any:
    from rich.console import Group
    from rich.text import Text

    text = Text(f"\n{finding.probe}: ", style=_STYLE[finding.severity])
    text.append(finding.summary, style="not bold default")
    lines = []
    for remedy in finding.remedies[:1]:
        lines.append(f"  {remedy.kind}: {remedy.python}")
        if remedy.shell:
            lines.append(f"  {' ' * len(remedy.kind)}  {remedy.shell}")
    # a line to copy must stay one line
    return Group(text, *(Text(line, style="cyan", no_wrap=True, overflow="ignore") for line in lines))
