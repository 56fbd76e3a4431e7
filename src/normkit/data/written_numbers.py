"""Numbers as people write them into files, and what to say of those that cannot be read.

What is said never shows the cell: the table may be private.
"""

import re

__all__ = [
    "DECIMAL_COMMA",
    "MISSING",
    "THOUSANDS",
    "UNCLEAR_COMMA",
    "could_be_a_name",
    "fault",
    "is_a_line_of_cells",
    "looks_like_a_number",
    "number",
]

MISSING = frozenset({"", "na", "nan", "null", "none"})
"""How a missing value is written, in lower case."""

DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:([,.'’_ \u00a0\u202f])\d{3})(?:\1\d{3})*(?:[.,]\d+)?")
"""Digits in groups of three; `1,234` matches both."""

UNCLEAR_COMMA = (
    "the comma could be a decimal one or separate thousands, and no cell of the column tells; write decimal points in "
    "the whole table, or no separators of thousands"
)

_BETWEEN = re.compile(r"[\s|:]+")
_ORNAMENT = re.compile(r"[\W_]+")
_MEASURED = re.compile(
    r"(?:[a-z]{1,3}[$€£¥]\s*|(?:eur|usd|gbp|chf|jpy|ca|circa|approx|about)(?:\.\s*|\s+))[+-]?[.,]?\d", re.IGNORECASE
)
"""A number behind the word of a currency or of an estimate: EUR 5, US$5, ca. 5."""


def number(cell: str, decimal: str = ".") -> float | None:
    """The number in a cell; None where it is none, or one with underscores, as programs and not tables write them."""
    if "_" in cell:
        return None
    if decimal == ",":
        if "." in cell:
            return None
        cell = cell.replace(",", ".")
    try:
        return float(cell)
    except ValueError:
        return None


def fault(cell: str, decimal: str = ".") -> str:
    """What stands in a cell in place of a finite number, and what to write, without showing it."""
    cell = cell.strip()
    if cell.lower() in MISSING:
        return "the cell is empty (or NA), and a number is wanted in every one; fill it in, or leave the row out"
    if number(cell, decimal) is not None:
        return "the number is infinite; write a finite one, or leave the row out"
    return next(
        (said for looks, said in _FAULTS if looks(cell, decimal)),
        "the cell is no number; write one, or leave the column out",
    )


def _is_several(cell: str, decimal: str) -> bool:
    parts = _BETWEEN.split(cell)
    return len(parts) > 1 and all(number(part, decimal) is not None for part in parts)


def is_a_line_of_cells(cell: str, decimal: str = ".") -> bool:
    """Whether a cell is several, most of them numbers, between which stand spaces, bars or colons."""
    parts = _BETWEEN.split(cell.strip())
    return len(parts) > 1 and 2 * sum(number(part, decimal) is not None for part in parts) > len(parts)


_FAULTS = (
    (
        lambda cell, decimal: cell.endswith(("%", "‰")),
        "the number has a percent sign; write it without, all of a column in one unit",
    ),
    (lambda cell, decimal: cell.startswith(("<", ">")), "a bound stands there, such as <1; write one number"),
    (
        lambda cell, decimal: decimal == "," and number(cell) is not None,
        "the number has a decimal point, and numbers before it have decimal commas; write all of them one way",
    ),
    (
        lambda cell, decimal: bool(DECIMAL_COMMA.fullmatch(cell)) and not THOUSANDS.fullmatch(cell),
        "the number has a decimal comma; write a point, such as 1.5",
    ),
    (
        lambda cell, decimal: bool(THOUSANDS.fullmatch(cell)),
        "the number has a separator of thousands; write 1234.5 for 1,234.5",
    ),
    (_is_several, "several numbers stand there; separate cells by commas, semicolons or tabs"),
    (
        lambda cell, decimal: number(cell.strip("$€£¥ "), decimal) is not None,
        "the number has a unit; write it without",
    ),
)


def looks_like_a_number(cell: str, decimal: str = ".") -> bool:
    """Whether a cell is a number, or one that is written in a way that cannot be read."""
    cell = cell.strip()
    return number(cell, decimal) is not None or any(looks(cell, decimal) for looks, _ in _FAULTS)


def could_be_a_name(cell: str) -> bool:
    """Whether a cell could name a column: no number in whatever notation, nothing missing (`n/a`), no digit in front.

    What is taken for a name is shown and kept, and a line without a header may be a private row: what could be a
    measurement (`5 mg`, `<1`) is none. `Na` is sodium; missing values are not written so.
    """
    cell = cell.strip()
    bare = _ORNAMENT.sub("", cell)
    if bare == "Na":
        return True
    if bare.lower() in MISSING or cell.lower().rstrip(".") == "n.d":
        return False
    if (bare[0].isnumeric() and not bare[0].isalpha()) or _MEASURED.match(cell):  # ½ is a number, 五 a word
        return False
    return not cell.startswith(("<", ">")) and number(cell) is None  # <LOD, inf
