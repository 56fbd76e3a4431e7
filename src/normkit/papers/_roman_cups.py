"""The Roman glass cups: what partial correlation gives on 47 × 11 oxides, beside the figures that are known."""

from typing import Any

import numpy as np

from normkit import data
from normkit.estimators import PartialCorrelation
from normkit.papers import Ledger, Records, Show

__all__ = ["judge_cups", "measure_cups"]

# What propr 5.1.8 gives for the cups, as printed: the digits shown are all that is compared here.
PAIRS = {"Al-Fe": 0.727, "Si-Al": 0.722, "Si-Fe": -0.663, "Ca-Na": 0.597, "Mg-Fe": 0.428, "K-P": 0.413}
PAIRS |= {"Al-Fe, shrunk": 0.59, "Si-Fe, shrunk": -0.54, "Si-Al, six parts": 0.735}
VARIANCES = (2.03, 0.88, 3.47, 8.13, 2.78, 1.78, 8.41, 8.31, 10.25, 50.6, 51.6)
MULTIPLE = {"Si": 0.888, "Al": 0.850, "Na": 0.792, "Fe": 0.752, "K": 0.145}
INTENSITIES = {"shrinkage": 0.0591229, "variance_shrinkage": 0.0814671}
BOUNDS = {
    "ρ of seven pairs": 5e-4,
    "ρ of two pairs, shrunk": 5e-3,
    "partial variances (relative)": 6e-3,
    "R² (clr) of five parts": 5e-4,
    "λ and λ_v": 5e-8,
}
"""Half of the last digit that is known."""


def measure_cups() -> list[dict[str, Any]]:
    """One record of all figures; or one that says what is missing, where the cups are not on this machine."""
    try:
        bunch = data.load("roman-cups")
    except data.DataNotFound as error:
        return [{"missing": str(error)}]
    names = list(bunch.meta.details["columns"])
    plain = PartialCorrelation(shrinkage=None).fit(bunch.X)
    shrunk = PartialCorrelation(shrinkage="basis").fit(bunch.X)
    six = PartialCorrelation(shrinkage=None).fit(bunch.X[:, :6])
    fits = {"": plain, "shrunk": shrunk, "six parts": six}
    upper = np.triu_indices(len(names), 1)
    return [
        {
            "names": names,
            "correlations": {pair: _pair(fits, names, pair) for pair in PAIRS},
            "matrix": plain.partial_correlation_.tolist(),
            "variances": (1e3 * plain.partial_variance_).tolist(),
            "multiple": dict(zip(names, plain.multiple_correlation().tolist(), strict=True)),
            "freedom": plain.degrees_of_freedom_,
            "bonferroni": int((plain.p_values_[upper] * len(upper[0]) <= 0.05).sum()),
            "shrinkage": shrunk.shrinkage_,
            "variance_shrinkage": shrunk.variance_shrinkage_,
        }
    ]


def _pair(fits: dict[str, PartialCorrelation], names: list[str], pair: str) -> float:
    parts, _, kind = pair.partition(", ")
    first, second = map(names.index, parts.split("-"))
    return float(fits[kind].partial_correlation_[first, second])


def judge_cups(records: Records, claim: Ledger, show: Show) -> None:
    """The claims on the cups, and their tables and figure."""
    row = records[0]
    reason, source = row.get("missing"), "propr 5.1.8 run on the same table"
    gaps, n = ({}, None) if reason else (_gaps(row), 1)
    for name, bound in BOUNDS.items():
        claim(f"cups: {name}, largest difference", gaps.get(name), at_most=bound, source=source, n=n, reason=reason)
    claim("cups: degrees of freedom", row.get("freedom"), equals=37, source="N − D + 1", n=n, reason=reason)
    claim("cups: pairs below Bonferroni's 5 %", row.get("bonferroni"), equals=4, source=source, n=n, reason=reason)
    if not reason:
        _show(row, show)


def _gaps(row: dict[str, Any]) -> dict[str, float]:
    """Largest differences from what is known."""
    pairs = {pair: abs(row["correlations"][pair] - known) for pair, known in PAIRS.items()}
    return {
        "ρ of seven pairs": max(gap for pair, gap in pairs.items() if "shrunk" not in pair),
        "ρ of two pairs, shrunk": max(gap for pair, gap in pairs.items() if "shrunk" in pair),
        "partial variances (relative)": max(
            abs(v / known - 1) for v, known in zip(row["variances"], VARIANCES, strict=True)
        ),
        "R² (clr) of five parts": max(abs(row["multiple"][part] - known) for part, known in MULTIPLE.items()),
        "λ and λ_v": max(abs(row[name] - known) for name, known in INTENSITIES.items()),
    }


def _show(row: dict[str, Any], show: Show) -> None:
    rows = [[pair, row["correlations"][pair], PAIRS[pair]] for pair in PAIRS]
    show.table(["pair", "ρ", "reference"], rows, caption="Roman glass cups: strongest partial correlations")
    table = zip(row["names"], row["variances"], VARIANCES, row["multiple"].values(), strict=True)
    caption = "Partial variances × 10³, and the multiple correlation with all other parts"
    show.table(["part", "variance", "reference", "R² (clr)"], list(map(list, table)), caption=caption)

    def draw(axes: Any) -> None:
        image = axes.imshow(row["matrix"], cmap="RdBu_r", vmin=-1, vmax=1)
        axes.figure.colorbar(image, ax=axes)
        axes.set_xticks(range(len(row["names"])), row["names"])
        axes.set_yticks(range(len(row["names"])), row["names"])
        axes.grid(False)

    show.figure(
        draw, caption="Partial correlations of the cups' oxides", alt="A heat map of 11 oxides, red Al-Fe, Si-Al"
    )
