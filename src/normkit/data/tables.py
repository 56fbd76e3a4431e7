"""Tables: named columns of numbers, from a CSV file, a DataFrame, an array or a tensor."""

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

__all__ = ["Table", "as_table", "is_table", "read_table"]

_MISSING = frozenset({"", "na", "nan", "null", "none"})


@dataclass(frozen=True)
class Table:
    """Columns of numbers.

    Attributes:
        names: of the D columns.
        values: (N, D) float64, NaN where a value is missing.
        left_out: names of the columns that hold no numbers.
        source: the DataFrame, array or tensor that it was made from, or the path of the file.
    """

    names: tuple[str, ...]
    values: np.ndarray
    left_out: tuple[str, ...] = ()
    source: Any = None

    def to_frame(self) -> Any:
        """The values as a pandas DataFrame.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        from normkit.extras import require

        return require("pandas").DataFrame(self.values, columns=list(self.names))


def is_table(found: Any) -> bool:
    """Whether `found` is something that `as_table` takes: a Table, a DataFrame, or a 2-D array or tensor."""
    return isinstance(found, Table) or _is_frame(found) or (isinstance(found, np.ndarray | Tensor) and found.ndim == 2)


def as_table(found: Any) -> Table:
    """The table in a DataFrame (its columns of numbers), a 2-D array or tensor (columns x0, x1, …), or a Table.

    Raises:
        TypeError: it is none of these, or holds no numbers.
    """
    if isinstance(found, Table):
        return found
    if _is_frame(found):
        numbers = found.select_dtypes("number")
        left_out = tuple(str(name) for name in found.columns if name not in numbers.columns)
        values = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
        return Table(tuple(map(str, numbers.columns)), values, left_out, found)
    if not is_table(found):
        raise TypeError(f"a {type(found).__name__} came: a DataFrame or a 2-D array is wanted")
    array = found.detach().cpu().numpy() if isinstance(found, Tensor) else found
    if not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
        raise TypeError(f"the array holds {array.dtype}: real numbers are wanted")
    return Table(tuple(f"x{place}" for place in range(array.shape[1])), array.astype(np.float64), source=found)


def read_table(path: str | os.PathLike[str]) -> Table:
    """The columns of numbers of a CSV file (a comma, or a tab where the name ends in .tsv), with a header line.

    A first column without a name holds the names of the rows, as R and pandas write them, and is left out. A cell is
    missing where it is empty, NA, NaN, null or none.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no text, has no header or no rows, a line has another number of cells, or no column holds
            numbers.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file")
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            lines = [line for line in csv.reader(stream, delimiter="\t" if file.suffix == ".tsv" else ",") if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{file} cannot be read as a table: {error}") from error
    if len(lines) < 2:
        raise ValueError(f"{file} has {len(lines)} lines: a header and rows are wanted")
    return _from_lines(lines[0], lines[1:], str(file))


def _from_lines(header: list[str], rows: list[list[str]], source: str) -> Table:
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise ValueError(f"{source}, line {number}: {len(row)} cells where the header has {len(header)}")
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    if len(columns) < len(header):
        raise ValueError(f"{source}: two columns bear one name")
    if not header[0].strip():
        del columns[header[0]]
    numbers = {name: read for name, cells in columns.items() if (read := _numbers(cells)) is not None}
    if not numbers:
        raise ValueError(f"{source}: no column holds numbers")
    left_out = tuple(name for name in columns if name not in numbers)
    return Table(tuple(numbers), np.column_stack([*numbers.values()]), left_out, source)


def _numbers(cells: tuple[str, ...]) -> np.ndarray | None:
    """The column as numbers; None where a cell is neither one nor missing, or all are missing."""
    try:
        values = np.array([np.nan if cell.strip().lower() in _MISSING else float(cell) for cell in cells])
    except ValueError:
        return None
    return None if np.isnan(values).all() else values


def _is_frame(found: Any) -> bool:
    """A pandas DataFrame, told without importing pandas."""
    return all(hasattr(found, name) for name in ("columns", "select_dtypes", "to_numpy"))
