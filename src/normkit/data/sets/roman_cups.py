"""Roman glass cups: percentages of eleven oxides, the worked example of partial correlations of compositions."""

from pathlib import Path

import numpy as np

from normkit.data.bunch import Arrays, DataSet
from normkit.data.tables import read_table

__all__ = ["ROMAN_CUPS"]

OXIDES = ("Si", "Al", "Fe", "Mg", "Ca", "Na", "K", "Ti", "P", "Mn", "Sb")


def _read(folder: Path | None) -> Arrays:
    assert folder is not None
    table = read_table(folder / "cups.csv")
    if table.names != OXIDES:
        raise ValueError(f"its columns are {', '.join(table.names)}")
    return table.values, None, {"all": np.arange(len(table.values))}


ROMAN_CUPS = DataSet(
    name="roman-cups",
    summary="47 Roman glass cups, percentages of 11 oxides (columns Si to Sb); rows sum to nearly 100",
    source="cups.csv: row names, then the oxides, as in the CRAN package easyCODA (data/cups.RData)",
    licence="as easyCODA (GPL); the measurements are published in the paper cited",
    citation="M. J. Baxter, C. C. Beardah, H. E. M. Cool and C. M. Jackson (2005), Compositional data analysis of some "
    "alkaline glasses, Mathematical Geology 37, 183-196",
    read=_read,
    files=("cups.csv",),
    size=2_810,
    details={"columns": list(OXIDES)},
)
