"""`normkit diagnose --self-test`: every probe on every patient, and whether it says what is there and nothing else."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from normkit.diagnosis._framework.discovery import probes
from normkit.diagnosis._framework.examination import diagnose
from normkit.diagnosis._framework.result import Diagnosis

__all__ = ["Outcome", "SelfTest", "self_test"]


@dataclass(frozen=True)
class Outcome:
    """What the probes said of one patient."""

    name: str
    has: frozenset[str]
    said: frozenset[str]
    severities: dict[str, str]

    @property
    def right(self) -> bool:
        """Whether exactly what is there was said."""
        return self.has == self.said


@dataclass(frozen=True)
class SelfTest:
    """The table of probes × patients."""

    outcomes: tuple[Outcome, ...]
    seconds: float

    @property
    def right(self) -> bool:
        """Whether every probe said `act` on exactly the patients that have its pathology."""
        return all(outcome.right for outcome in self.outcomes)

    def to_dict(self) -> dict[str, Any]:
        """`{"patients": [{"name", "has": […], "said": […]}], "right": bool}`."""
        patients = [
            {"name": each.name, "has": sorted(each.has), "said": sorted(each.said), "severities": each.severities}
            for each in self.outcomes
        ]
        return {"patients": patients, "right": self.right}

    def __rich__(self) -> Any:
        from rich.table import Table

        slugs = list(probes())
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("patient")
        for slug in slugs:
            table.add_column(slug)
        for each in self.outcomes:
            table.add_row(each.name, *[_mark(each, slug) for slug in slugs])
        return table


def self_test(seed: int = 0, advance: Callable[..., None] | None = None) -> SelfTest:
    """Examine every patient by every probe.

    Args:
        seed: of the patients' weights and data.
        advance: called with `(1, description=name)` before each patient, for a progress bar.
    """
    from normkit.diagnosis._framework.patients import PATIENTS

    started = time.perf_counter()
    outcomes = []
    for patient in PATIENTS:
        if advance:
            advance(1, description=patient.name)
        model, data = patient.build(seed)
        diagnosis = diagnose(model, data, max_batches=patient.max_batches, seed=seed)
        outcomes.append(_outcome(patient.name, patient.has, diagnosis))
    return SelfTest(tuple(outcomes), time.perf_counter() - started)


def _outcome(name: str, has: frozenset[str], diagnosis: Diagnosis) -> Outcome:
    severities = {finding.probe: str(finding.severity) for finding in diagnosis.findings}
    severities |= {skipped.probe: "skipped" for skipped in diagnosis.skipped}
    said = frozenset(probe for probe, severity in severities.items() if severity == "act")
    return Outcome(name, has, said, severities)


def _mark(outcome: Outcome, slug: str) -> str:
    """What a probe said of a patient, marked where it is wrong."""
    severity = outcome.severities.get(slug, "–")
    if (slug in outcome.has) != (slug in outcome.said):
        return f"[bold red]{severity}, wrong[/]"
    style = {"act": "bold red", "watch": "yellow", "ok": "green"}.get(severity, "dim")
    return f"[{style}]{'–' if severity == 'skipped' else severity}[/]"
