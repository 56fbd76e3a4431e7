"""A diagnosis as a page: what was found, a figure for every probe, and before and after on the same axes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from normkit.diagnosis._framework.finding import Finding, Site
from normkit.report import COLORS, Report, new_figure

if TYPE_CHECKING:
    from normkit.diagnosis._framework.result import Diagnosis
    from normkit.diagnosis._framework.treatment import Treatment

__all__ = ["diagnosis_page", "treatment_page"]

_NAMED = 24
"""Up to so many places are named below the axis; more are numbered."""

_LONGEST = 32
"""Characters of a name below the axis."""


def diagnosis_page(diagnosis: "Diagnosis", title: str = "Diagnosis") -> Report:
    """The page of a diagnosis."""
    lead = f"{diagnosis.model}: {len(diagnosis.findings)} probes over {diagnosis.samples} samples."
    page = Report(f"normkit: {title.lower()}", lead)
    _overview(page, diagnosis)
    for finding in diagnosis.findings:
        _section(page, finding)
    return page


def treatment_page(diagnosis: "Diagnosis", treatment: "Treatment") -> Report:
    """The page of a treatment: before and after first, then the diagnosis that led to it."""
    page = Report("normkit: diagnosis and treatment", treatment.verdict())
    page.heading(f"{treatment.probe}: before and after {' + '.join(treatment.to)}")
    page.note(treatment.before.severity, f"before: {treatment.before.summary}")
    page.note(treatment.after.severity, f"after: {treatment.after.summary}")
    page.figure(
        _compared(treatment.before, treatment.after),
        f"{treatment.before.unit}, at the same places before and after; the line is the threshold "
        f"{treatment.before.threshold:g}",
        f"{treatment.probe} at {len(treatment.before.sites)} places before and after the treatment",
    )
    _qualities(page, treatment)
    _costs(page, treatment)
    page.heading("The diagnosis")
    _overview(page, diagnosis)
    for finding in diagnosis.findings:
        _section(page, finding)
    return page


def _overview(page: Report, diagnosis: "Diagnosis") -> None:
    rows = [
        [each.probe, each.severity, each.figure, each.threshold, each.unit] for each in diagnosis.findings
    ]  # fmt: skip
    page.table(
        ["probe", "says", "figure", "act above", "unit"], rows, "All probes; the figure is that of the worst place."
    )
    if diagnosis.skipped:
        page.table(["skipped", "reason"], [[each.probe, each.reason] for each in diagnosis.skipped])


def _section(page: Report, finding: Finding) -> None:
    page.heading(finding.probe)
    page.note(finding.severity, finding.summary)
    if any(site.figure for site in finding.sites):
        alt = f"{finding.probe}: {finding.unit} at {len(finding.sites)} places, worst {finding.figure:.3g}"
        page.figure(_profile(finding), f"{finding.unit}; the line is the threshold {finding.threshold:g}", alt)
    if any("law" in site.detail for site in finding.sites):
        alt = "variance of the residual stream over depth, measured and as normalised branches would give it"
        page.figure(_stream(finding.sites), "Variance of the residual stream over depth (logarithmic).", alt)
    page.text(f"Threshold: {finding.threshold_source}.")
    for remedy in finding.remedies:
        page.code("\n".join(filter(None, (remedy.python, remedy.shell))), f"{remedy.name} ({remedy.kind})")
    _places(page, finding.sites)


def _places(page: Report, sites: Sequence[Site]) -> None:
    names: list[str] = []
    for site in sites:
        names += [name for name in site.detail if name not in names]
    rows = [
        [number, site.path or "(model)", site.severity, site.figure, *[_short(site.detail.get(name)) for name in names]]
        for number, site in enumerate(sites, 1)
    ]
    page.table(["#", "place", "says", "figure", *[name.replace("_", " ") for name in names]], rows)


def _short(value: Any) -> Any:
    return "×".join(map(str, value)) if isinstance(value, tuple) else value


def _profile(finding: Finding) -> Any:
    figure, axes = new_figure()
    positions = range(1, len(finding.sites) + 1)
    colors = [COLORS[site.severity] for site in finding.sites]
    axes.bar(positions, [_drawable(site.figure) for site in finding.sites], color=colors, width=0.7)
    _frame(axes, finding, finding.sites)
    return figure


def _compared(before: Finding, after: Finding) -> Any:
    figure, axes = new_figure()
    found = {site.path: site.figure for site in after.sites}
    positions = range(1, len(before.sites) + 1)
    left = [_drawable(site.figure) for site in before.sites]
    right = [_drawable(found.get(site.path, 0.0)) for site in before.sites]
    axes.bar([p - 0.2 for p in positions], left, width=0.38, color=COLORS["before"], label="before")
    axes.bar([p + 0.2 for p in positions], right, width=0.38, color=COLORS["after"], label="after")
    _frame(axes, before, before.sites)
    _legend(axes)
    return figure


def _frame(axes: Any, finding: Finding, sites: Sequence[Site]) -> None:
    figures = [_drawable(site.figure) for site in sites if site.figure > 0]
    if figures and max(*figures, finding.threshold) > 100 * min(*figures, finding.threshold):
        axes.set_yscale("log")
    axes.set_axisbelow(True)
    axes.axhline(finding.threshold, color=COLORS["muted"], linestyle="--", linewidth=1.2)
    axes.set_ylabel(_wrapped(finding.unit))
    if len(sites) <= _NAMED:
        axes.set_xticks(range(1, len(sites) + 1), [_tick(site) for site in sites], rotation=60, ha="right")
    else:
        axes.set_xlabel("place, in the order of the table")


def _tick(site: Site) -> str:
    """Both ends of a long path: a picture that is all labels has no room for bars. The table has it whole."""
    path = site.path or "(model)"
    return path if len(path) <= _LONGEST else f"{path[: _LONGEST // 2 - 1]}…{path[-_LONGEST // 2 :]}"


def _stream(sites: Sequence[Site]) -> Any:
    figure, axes = new_figure()
    depth = range(1, len(sites) + 1)
    axes.plot(
        depth, [_drawable(site.detail["variance"]) for site in sites], "o-", color=COLORS["accent"], label="measured"
    )
    axes.plot(depth, [site.detail["law"] for site in sites], "--", color=COLORS["muted"], label="normalised branches")
    axes.set_yscale("log")
    axes.set_xlabel("block")
    axes.set_ylabel("variance of the stream")
    _legend(axes)
    return figure


def _qualities(page: Report, treatment: "Treatment") -> None:
    before, after = treatment.quality_before, treatment.quality_after
    if before is None or after is None:
        return
    rows = [[f"seed {seed}", *pair] for seed, pair in enumerate(zip(before.seeds, after.seeds, strict=True))]
    page.table(["", "before", "after"], [*rows, ["mean", before.mean, after.mean]], f"{before.measure}, as measured")
    if len(before.seeds) > 1:
        figure, axes = new_figure(height=2.8)
        for low, high in zip(before.seeds, after.seeds, strict=True):
            axes.plot([0, 1], [low, high], "o-", color=COLORS["muted"], linewidth=1)
        axes.plot([0, 1], [before.mean, after.mean], "o-", color=COLORS["after"], linewidth=2.5, label="mean")
        axes.set_xticks([0, 1], ["before", "after"])
        axes.set_xlim(-0.3, 1.3)
        axes.set_ylabel(before.measure)
        _legend(axes)
        page.figure(
            figure, f"{before.measure} of each seed before and after", f"{before.measure} of {len(before.seeds)} seeds"
        )


def _costs(page: Report, treatment: "Treatment") -> None:
    rows = [[name.replace("_", " "), value] for name, value in treatment.cost.items() if value is not None]
    page.table(["what it cost", ""], rows)
    for remark in treatment.remarks:
        page.note("info", remark)


def _legend(axes: Any) -> None:
    """Above the axes, where it covers nothing."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2)


def _drawable(value: float) -> float:
    return value if value == value and abs(value) != float("inf") else 0.0  # what is no number is named in the table


def _wrapped(text: str) -> str:
    words, lines = text.split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) > 28:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
