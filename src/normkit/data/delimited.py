"""Text files of cells: which character separates them, what the first line is, and why a cell is no number.

One reader for every command that takes a table. What it says of a fault names line and column and never shows a cell:
the table may be private.
"""

import csv
import math
import os
import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import numpy as np

from normkit.data.cells import IN_WORDS, Cells, Line, unclear_comma
from normkit.data.written_numbers import (
    DECIMAL_COMMA,
    THOUSANDS,
    UNCLEAR_COMMA,
    could_be_a_name,
    fault,
    is_a_line_of_cells,
    number,
)

__all__ = ["HEADERS", "as_numbers", "read_cells"]

HEADERS = ("auto", "yes", "no")
_SEPARATORS = (",", ";", "\t")
_SAMPLE = 100  # lines from which separator and decimal mark are told
_FEWEST_COUNTED = 3  # columns from which a line that counts up from any number, as years do, is taken for a header

_DIGITS = re.compile(r"[+-]?\d+")


def read_cells(path: str | os.PathLike[str], header: str = "auto", *, row_names: bool = False) -> Cells:
    """Open a text file of cells: separated by commas, semicolons or tabs, in UTF-8, with a header line or without.

    The separator is the one under which most cells are numbers. Numbers have decimal points; decimal commas are read
    where cells are separated by something else and nothing contradicts them. A column all of whose commas could
    separate thousands (1,234) is refused where another column has decimal commas. With `header` "auto" the first line
    is a header if every cell of it could be a name, and a row if all are numbers. A cell that could be a number (`<1`,
    `5%`, `1,234`) or a missing one is no name.

    Args:
        path: the file; a pipe will do.
        header: "auto", "yes" or "no": whether the first line names the columns.
        row_names: whether a first column without a name, as R and pandas write row names, is allowed.

    Raises:
        FileNotFoundError, IsADirectoryError: there is no such file.
        ValueError: the file is empty or no text, or another character separates cells; "auto" cannot tell what the
            first line is (numbers that count up, as pandas names columns, cells that could be numbers, or names and
            numbers mixed); lines are two whole numbers that could be one with a decimal comma (1,05), in a file without
            names; a column has no name, or two have one.
    """
    if header not in HEADERS:
        raise ValueError(f"header is {header!r}: choose one of {', '.join(HEADERS)}")
    file = Path(path)
    if file.is_dir():
        raise IsADirectoryError(f"{file} is a folder: a file of numbers is wanted")
    if not file.exists():
        raise FileNotFoundError(f"{file}: no such file")
    text = _text(file)
    sample = list(islice(text, _SAMPLE))
    separator = _separator(sample)
    lines = _numbered(chain(sample, text), separator, str(file))
    first = next(lines, None)
    if first is None:
        raise ValueError(f"{file} is empty: a line of numbers for each row is wanted")
    cells = Cells(str(file), None, len(first[1]), iter(()), separator, _decimal_mark(sample, separator))
    if cells.width == 1 and is_a_line_of_cells(sample[-1]):
        raise ValueError(
            f"{file}: cells are separated by spaces or another character; separate them by commas, semicolons or tabs"
        )
    below = [line.strip().strip('"') for line in sample[first[0] :]] if cells.width == 1 else []
    if _is_header(first[1], header, cells, row_names, any(map(_DIGITS.fullmatch, below))):
        cells.names = [cell.strip() for cell in first[1]]
        _check_names(cells, row_names)
    else:
        _check_pairs(sample, cells)
        lines = chain([first], lines)
    cells.lines = _of_one_width(lines, cells)
    return cells


def as_numbers(lines: Sequence[Line], columns: Sequence[int], cells: Cells) -> np.ndarray:
    """(lines, columns) float64 of the columns at these places, each of which must hold a finite number in every line.

    Raises:
        ValueError: a cell that holds none; names its line and column and what to do.
    """
    every = list(columns) == list(range(cells.width))
    rows = [row if every else [row[place] for place in columns] for _, row in lines]
    if cells.decimal == ",":
        rows = [[cell.replace(".", "?").replace(",", ".") for cell in row] for row in rows]
    try:
        values = np.array(rows, dtype=np.float64).reshape(len(rows), len(columns))
    except ValueError:
        values = None
    if any("_" in "".join(row) for row in rows):  # numpy reads 1_0 as 10
        values = None
    if values is None or not np.isfinite(values).all():
        raise ValueError(_first_fault(lines, columns, cells))
    for place in columns:
        if (at := unclear_comma([row[place] for _, row in lines], place, cells)) is not None:
            raise ValueError(f"{cells.source}, line {lines[at][0]}, {cells.name(place)}: {UNCLEAR_COMMA}")
    return values


def _first_fault(lines: Sequence[Line], columns: Sequence[int], cells: Cells) -> str:
    for line, row in lines:
        if all(not cell.strip() for cell in row):
            return f"{cells.source}, line {line}: all cells are empty; delete the line"
        for place in columns:
            value = number(row[place], cells.decimal)
            if value is None or not math.isfinite(value):
                return f"{cells.source}, line {line}, {cells.name(place)}: {fault(row[place], cells.decimal)}"
    raise AssertionError("every cell is a finite number")  # numpy and float() read the same numbers


def _text(file: Path) -> Iterator[str]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            yield from stream
    except UnicodeDecodeError:
        raise ValueError(
            f"{file} is no text in UTF-8: save the table as CSV (UTF-8); a spreadsheet's own format cannot be read"
        ) from None


def _numbered(text: Iterator[str], separator: str, source: str) -> Iterator[Line]:
    """The lines that are not empty, each with its number (that of its last line, where a cell holds line breaks)."""
    reader = csv.reader(text, delimiter=separator)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise ValueError(f"{source}, line {reader.line_num}: no line of a table ({error})") from None


def _of_one_width(lines: Iterator[Line], cells: Cells) -> Iterator[Line]:
    first = "the header" if cells.names else "the first line"
    for line, row in lines:
        if len(row) != cells.width:
            raise ValueError(
                f"{cells.source}, line {line}: {len(row)} cell{'s' * (len(row) != 1)} separated by "
                f"{IN_WORDS[cells.separator]}, and {first} has {cells.width}"
            )
        yield line, row


def _separator(sample: list[str]) -> str:
    """The separator under which lines have one width and most cells are numbers; a comma where cells stand alone."""
    best, found = (False, 0.0, 0), ","
    for separator in _SEPARATORS:
        try:
            rows = [row for row in csv.reader(sample, delimiter=separator) if row]
        except csv.Error:
            continue
        if not rows or max(map(len, rows)) < 2:
            continue
        below = [cell for row in rows[1:] or rows for cell in row]
        marks = (".",) if separator == "," else (".", ",")
        numbers = max(sum(number(cell, mark) is not None for cell in below) for mark in marks)
        score = (len({len(row) for row in rows}) == 1, numbers / len(below), len(rows[0]))
        if score > best:
            best, found = score, separator
    return found


def _decimal_mark(sample: list[str], separator: str) -> str:
    """A comma where some cells can only be numbers with decimal commas, and none has a point; else a point."""
    if separator == ",":
        return "."
    cells = [cell.strip() for row in csv.reader(sample, delimiter=separator) for cell in row]
    commas = [cell for cell in cells if DECIMAL_COMMA.fullmatch(cell)]
    points = any("." in cell and number(cell) is not None for cell in cells)
    return "," if not points and any(not THOUSANDS.fullmatch(cell) for cell in commas) else "."


def _is_header(first: list[str], header: str, cells: Cells, row_names: bool, whole: bool) -> bool:
    """Whether the first line names the columns; `whole`: a single column holds whole numbers below, as 0 is one."""
    if header != "auto":
        return header == "yes"
    unnamed = row_names and len(first) > 1 and not first[0].strip()
    if all(not cell.strip() or could_be_a_name(cell) for cell in first):
        return True
    numbers = [number(cell, cells.decimal) is not None for cell in first]
    told = "say which: header=yes (--header yes) for names, header=no (--header no) for a row"
    where = f"{cells.source}, line 1"
    if not whole and _counts_up(first[1:] if unnamed else first):
        raise ValueError(f"{where} counts up, as pandas names columns, and could be a row of numbers as well: {told}")
    if all(numbers):
        return False
    if any(numbers):
        mixed = f"column {numbers.index(True) + 1} is a number and column {numbers.index(False) + 1} is none"
    else:
        unlike = next(place for place, cell in enumerate(first, 1) if cell.strip() and not could_be_a_name(cell))
        mixed = f"column {unlike} could be a number, or one that is missing"
    raise ValueError(f"{where} could be names or a row: {mixed}; {told}")


def _check_pairs(sample: list[str], cells: Cells) -> None:
    """Refuse 1,05 alone on its line: one number with a decimal comma, as no column of whole numbers holds 05.

    1,5 could be two whole numbers, and is read so; `Cells.layout` says it.
    """
    if cells.width != 2 or cells.separator != ",":
        return
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(sample) if row]
    except csv.Error:  # said where the lines are read
        return
    whole = all(_DIGITS.fullmatch(cell) for row in rows for cell in row)
    if whole and any(re.fullmatch(r"0\d+", row[-1]) for row in rows):
        raise ValueError(
            f"{cells.source}: each line could be one number with a decimal comma, or two whole numbers; write decimal "
            "points, or name the two columns on the first line"
        )


def _counts_up(first: list[str]) -> bool:
    """Whether a line is 0, 1, 2, … or 1, 2, 3, …, or so many columns that count up by one that nobody measures them."""
    if not all(_DIGITS.fullmatch(cell.strip()) for cell in first):
        return False
    values = [int(cell) for cell in first]
    known = values[0] == 0 or (values[0] == 1 and len(values) > 1) or len(values) >= _FEWEST_COUNTED
    return known and values == list(range(values[0], values[0] + len(values)))


def _check_names(cells: Cells, row_names: bool) -> None:
    names = cells.names or []
    empty = [place + 1 for place, name in enumerate(names) if not name and not (row_names and place == 0)]
    if empty == [1]:
        raise ValueError(
            f"{cells.source}, line 1: column 1 has no name, as R and pandas write the names of rows: leave that column "
            "out (index=False, row.names=FALSE), or give it a name"
        )
    if empty:
        raise ValueError(
            f"{cells.source}, line 1: columns without a name ({_few(empty)}): name them, or leave them out"
        )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        places = [place + 1 for place, name in enumerate(names) if name == twice[0]]
        shown = f", {twice[0]!r}" if cells.shown_names() else ""
        raise ValueError(f"{cells.source}, line 1: columns {_few(places)} bear one name{shown}: rename them")


def _few(numbers: list[int], most: int = 5) -> str:
    more = f" and {len(numbers) - most} more" if len(numbers) > most else ""
    return ", ".join(map(str, numbers[:most])) + more
