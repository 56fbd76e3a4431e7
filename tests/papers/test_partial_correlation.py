"""The judge tells the paper from its opposite; cups that are not on this machine are said, not made up."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from normkit.papers import Context, Ledger, Records, Show, _roman_cups, partial_correlation
from normkit.papers.partial_correlation import SIZES

QUALITY = {
    20: {"raw": 0.2, "clr": 0.35, "rho_p": 0.35, "pcor": 0.1, "bshrink": 0.2},
    50: {"raw": 0.3, "clr": 0.55, "rho_p": 0.55, "pcor": 0.2, "bshrink": 0.45},
    100: {"raw": 0.4, "clr": 0.6, "rho_p": 0.6, "pcor": 0.5, "bshrink": 0.7},
    300: {"raw": 0.5, "clr": 0.7, "rho_p": 0.7, "pcor": 0.9, "bshrink": 0.92},
}


def known_cups() -> dict[str, Any]:
    names = ["Si", "Al", "Fe", "Mg", "Ca", "Na", "K", "Ti", "P", "Mn", "Sb"]
    return {
        "run": "cups",
        "seed": 0,
        "names": names,
        "correlations": dict(_roman_cups.PAIRS),
        "matrix": np.eye(11).tolist(),
        "variances": list(_roman_cups.VARIANCES),
        "multiple": {name: _roman_cups.MULTIPLE.get(name, 0.5) for name in names},
        "freedom": 37,
        "bonferroni": 4,
        **_roman_cups.INTENSITIES,
    }


def records(**changed: Any) -> Records:
    rows = [changed.get("cups") or known_cups()]
    for samples in SIZES:
        quality = QUALITY[samples] | changed.get("quality", {})
        rows.append({"run": "network", "seed": 0, "samples": samples, "base": 0.06, "signs": 0.9, **quality})
    mean = {"raw": 0.8, "log": 0.85, "clr": 0.3, "pcor": 0.13} | changed.get("spurious", {})
    rows.append({"run": "spurious", "seed": 0, **mean})
    gaps = dict.fromkeys(("references", "totals", "dense", "torch"), 1e-14) | changed.get("gaps", {})
    rows.append({"run": "exactness", "seed": 0, **gaps})
    size = {"device": "cpu", "seconds": 8.0, "share": 0.13, "mebibytes": 400.0, "pairs": 10_000, "joined": 9900}
    size |= changed.get("size", {})
    rows.append({"run": "many_parts", "seed": 0, **size})
    if "gpu" in changed:
        rows.append({"run": "many_parts", "seed": 0, **size, "device": "cuda", "seconds": changed["gpu"]})
    return Records(rows)


def verdicts(**changed: Any) -> list[bool | None]:
    claim = Ledger("embedded", 1)
    partial_correlation.judge(records(**changed), claim, Show())
    return [entry.holds for entry in claim.claims]


def test_what_is_as_claimed_holds() -> None:
    assert verdicts() == [True] * 20 + [None]
    assert verdicts(gpu=1.0) == [True] * 21
    assert verdicts(gpu=9.0)[-1] is False


@pytest.mark.parametrize(
    ("changed", "failing"),
    [
        ({"cups": {**known_cups(), "correlations": {**_roman_cups.PAIRS, "K-P": 0.42}}}, [0]),
        ({"cups": {**known_cups(), "correlations": {**_roman_cups.PAIRS, "Al-Fe, shrunk": 0.6}}}, [1]),
        ({"cups": {**known_cups(), "variances": [v * 1.01 for v in _roman_cups.VARIANCES]}}, [2]),
        ({"cups": {**known_cups(), "multiple": {**known_cups()["multiple"], "K": 0.2}}}, [3]),
        ({"cups": {**known_cups(), "shrinkage": 0.06}}, [4]),
        ({"cups": {**known_cups(), "freedom": 36, "bonferroni": 5}}, [5, 6]),
        ({"quality": {"bshrink": 0.8, "clr": 0.8, "pcor": 0.85}}, [7, 8, 9]),
        ({"quality": {"clr": 0.1}}, [10]),
        ({"spurious": {"pcor": 0.2, "raw": 0.6}}, [11, 12]),
        ({"gaps": {"references": 1e-9, "torch": 1.0}}, [13, 16]),
        ({"size": {"share": 0.5}}, [17]),
        ({"size": {"pairs": 0, "joined": 0}}, [18, 19]),
        ({"size": {"pairs": 20_000}}, [18, 19]),
    ],
)
def test_what_is_not_fails(changed: dict[str, Any], failing: list[int]) -> None:
    found = verdicts(**changed)
    assert [number for number, holds in enumerate(found) if holds is False] == failing


def test_cups_that_are_not_here_are_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NORMKIT_DATA", str(tmp_path))
    (row,) = partial_correlation.cups(Context("embedded", 0))
    assert "roman-cups is not on this machine" in row["missing"]
    claim = Ledger("embedded", 1)
    partial_correlation.judge(records(cups={**row, "run": "cups", "seed": 0}), claim, Show())
    assert [entry.holds for entry in claim.claims[:7]] == [None] * 7
    assert "cups.csv" in (claim.claims[0].reason or "")


def test_the_runs_measure_what_they_say() -> None:
    (row,) = partial_correlation.exactness(Context("smoke", 0))
    assert all(0 <= gap < 1e-10 for gap in row.values())
    rows = partial_correlation.network(Context("smoke", 0))
    assert all(0 < rows[0][method] <= 1 for method in partial_correlation.METHODS)
