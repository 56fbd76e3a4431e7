"""What a probe concludes: where, how much, against which threshold, and what helps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from normkit.diagnosis._framework.remedy import Remedy

__all__ = ["SEVERITIES", "Finding", "Severity", "Site", "Skipped", "worst"]

Severity = Literal["ok", "watch", "act"]
SEVERITIES: tuple[Severity, ...] = ("ok", "watch", "act")
"""From harmless to harmful: `ok` nothing to do, `watch` keep an eye on it, `act` the threshold is passed."""


def worst(severities: Sequence[Severity]) -> Severity:
    """The gravest of `severities`; `ok` where there are none."""
    return max(severities, key=SEVERITIES.index, default="ok")


@dataclass(frozen=True)
class Site:
    """One place in the model and what was measured there.

    Attributes:
        path: dotted path of the module, as `model.get_submodule` takes it (` (call 2)` is added for a module that runs
            more than once in a forward pass).
        figure: the probe's figure at this place, in the finding's unit.
        severity: this place alone against the threshold.
        detail: further figures of this place by name.
    """

    path: str
    figure: float
    severity: Severity = "ok"
    detail: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: path, figure, severity and the details flat beside them."""
        return {"path": self.path, "figure": self.figure, "severity": self.severity, **self.detail}


@dataclass(frozen=True)
class Finding:
    """What one probe found in a model.

    Attributes:
        probe: slug of the probe.
        severity: the gravest of the sites' severities, or graver where the probe judges the model as a whole.
        sites: the places in the order in which the model runs them.
        figure: the figure of the worst place.
        unit: what the figures count.
        threshold: figures above it mean `act`.
        threshold_source: where the threshold comes from: paper and section, or a derivation.
        remedies: what helps, in order of cost: exact, calibrated, fresh, advice.
        summary: one sentence for a person.
        detail: further figures of the model as a whole.
    """

    probe: str
    severity: Severity
    sites: tuple[Site, ...]
    figure: float
    unit: str
    threshold: float
    threshold_source: str
    remedies: tuple[Remedy, ...] = ()
    summary: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def worst_site(self) -> Site | None:
        """The place with the gravest severity and, among those, the largest figure; None where there are no places."""
        return max(self.sites, key=_gravity, default=None)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "probe": self.probe,
            "severity": self.severity,
            "sites": [site.to_dict() for site in self.sites],
            "figure": self.figure,
            "unit": self.unit,
            "threshold": self.threshold,
            "threshold_source": self.threshold_source,
            "remedies": [remedy.to_dict() for remedy in self.remedies],
            "summary": self.summary,
            "detail": dict(self.detail),
        }


@dataclass(frozen=True)
class Skipped:
    """A probe that did not run, and what to pass so that it does."""

    probe: str
    reason: str

    def to_dict(self) -> dict[str, str]:
        """JSON-able."""
        return {"probe": self.probe, "reason": self.reason}


def _gravity(site: Site) -> tuple[int, float]:
    figure = math.inf if math.isnan(site.figure) else site.figure  # what is not a number any more is the worst there is
    return SEVERITIES.index(site.severity), figure
