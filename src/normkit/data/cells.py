"""The cells of a text file, how they were told apart, and what may be said of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from normkit.data.written_numbers import DECIMAL_COMMA, THOUSANDS, could_be_a_name, number

__all__ = ["IN_WORDS", "Cells", "Line", "unclear_comma"]

IN_WORDS = {",": "commas", ";": "semicolons", "\t": "tabs"}
"""What separates cells."""

Line = tuple[int, list[str]]
"""The number of a line in its file, and its cells."""


@dataclass
class Cells:
    """The cells of a file, line by line.

    Attributes:
        source: the file, for messages.
        names: of the columns, stripped, where the file has a header.
        width: the number of columns.
        lines: the lines of cells that follow, to be read once; each has `width` cells.
        separator: between cells: a comma, a semicolon or a tab.
        decimal: "." or ","; a comma only where cells are separated by something else.
        told: the places of the columns of which some cell read so far can only have a decimal comma.
    """

    source: str
    names: list[str] | None
    width: int
    lines: Iterator[Line]
    separator: str = ","
    decimal: str = "."
    told: set[int] = field(default_factory=set)

    def layout(self) -> str:
        """How the file is read: columns, separator, decimal mark and what the first line is, in one line."""
        columns = "1 column" if self.width == 1 else f"{self.width} columns separated by {IN_WORDS[self.separator]}"
        marks = "decimal commas" if self.decimal == "," else "decimal points"
        return f"{columns}, {marks}, {'names on the first line' if self.names else 'no names: the first line is a row'}"

    def name(self, column: int) -> str:
        """How messages call a column, counted from 0: its place and, where it has one that may be shown, its name."""
        shown = self.shown_names()
        return f"column {column + 1}" + (f" ({shown[column]})" if shown and shown[column] else "")

    def shown_names(self) -> list[str] | None:
        """The names, where all could be names; else None: a private row may have been said to be a header."""
        return self.names if self.names and all(not name or could_be_a_name(name) for name in self.names) else None


def unclear_comma(column: Sequence[str], place: int, cells: Cells) -> int | None:
    """Where in the cells of a column the first comma stands that could separate thousands; None if it is decimal.

    1,234 is 1.234 where another cell of the column, such as 0,5, can only have a decimal comma. Other columns do not
    tell: counts stand beside measurements.
    """
    if cells.decimal != "," or place in cells.told:
        return None
    commas = [(at, cell.strip()) for at, cell in enumerate(column) if "," in cell]
    if any(DECIMAL_COMMA.fullmatch(cell) and not THOUSANDS.fullmatch(cell) for _, cell in commas):
        cells.told.add(place)
        return None
    return next((at for at, cell in commas if THOUSANDS.fullmatch(cell) and number(cell, ",") is not None), None)
