"""Tables: named columns of numbers, from a text file, a DataFrame, an array or a tensor."""

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from normkit.data.cells import Cells, Line, unclear_comma
from normkit.data.delimited import read_cells
from normkit.data.written_numbers import MISSING, UNCLEAR_COMMA, fault, looks_like_a_number, number
from normkit.extras import require

__all__ = ["Table", "as_table", "is_table", "read_table"]


@dataclass(frozen=True)
class Table:
    """Columns of numbers.

    Attributes:
        names: of the D columns.
        values: (N, D) float64, NaN where a value is missing.
        left_out: names of the columns that hold no numbers.
        source: the DataFrame, array or tensor that it was made from; of a file, the Python that reads it again.
        layout: of a file, how it was read: the number of columns, separator, decimal mark, whether it has a header.
    """

    names: tuple[str, ...]
    values: np.ndarray
    left_out: tuple[str, ...] = ()
    source: Any = None
    layout: str = ""

    def to_frame(self) -> Any:
        """The values as a pandas DataFrame.

        Raises:
            MissingExtraError: pandas is not installed.
        """
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


def read_table(path: str | os.PathLike[str], header: str = "auto") -> Table:
    """The columns of numbers of a text file: cells separated by commas, semicolons or tabs, a header line or none.

    Without a header the columns are called x0, x1, … A first column without a name holds the names of the rows, as R
    and pandas write them, and is left out, as is every column of which less than half are numbers. A cell is missing
    where it is empty, NA, NaN, null or none; an infinite number is refused. Decimal commas are read where cells are
    separated by something else.

    Args:
        path: the file.
        header: whether the first line names the columns: "yes", "no", or "auto": yes if no cell of it could be a
            number or a missing one, no if all are numbers; what could be both (0, 1, 2, … as pandas names columns, `<1`
            or `5%`, names mixed with numbers) is refused.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no text, has no rows, a line has another number of cells, no column holds numbers, a column of
            numbers holds something else in some line, columns bear one name, or "auto" cannot tell.
    """
    cells = read_cells(path, header, row_names=True)
    lines = list(cells.lines)
    if not lines:
        raise ValueError(f"{cells.source} has a header and no rows: give a line of numbers for each row")
    names = cells.names or [f"x{place}" for place in range(cells.width)]
    places = range(0 if names[0] else 1, cells.width)
    numbers = {names[place]: read for place in places if (read := _numbers(lines, place, cells)) is not None}
    if not numbers:
        raise ValueError(f"{cells.source}: no column holds numbers")
    left_out = tuple(names[place] for place in places if names[place] not in numbers)
    again = f"normkit.data.read_table({cells.source!r}{'' if header == 'auto' else f', header={header!r}'})"
    return Table(tuple(numbers), np.column_stack([*numbers.values()]), left_out, again, cells.layout())


def _numbers(lines: list[Line], place: int, cells: Cells) -> np.ndarray | None:
    """The column as numbers; None where half of what it holds or more is none.

    Raises:
        ValueError: most cells are numbers and some cannot be read; names the first.
    """
    column = [row[place].strip() for _, row in lines]
    read = [math.nan if cell.lower() in MISSING else number(cell, cells.decimal) for cell in column]
    if None not in read:
        values = np.array(read, dtype=np.float64)
        if (at := unclear_comma(column, place, cells)) is not None:
            raise ValueError(f"{cells.source}, line {lines[at][0]}, {cells.name(place)}: {UNCLEAR_COMMA}")
        if not np.isinf(values).any():
            return None if np.isnan(values).all() else values
    held = [cell for cell in column if cell.lower() not in MISSING]
    if 2 * sum(looks_like_a_number(cell, cells.decimal) for cell in held) <= len(held):
        return None
    first = next(at for at, value in enumerate(read) if value is None or math.isinf(value))
    raise ValueError(
        f"{cells.source}, line {lines[first][0]}, {cells.name(place)}: {fault(column[first], cells.decimal)}"
    )


def _is_frame(found: Any) -> bool:
    """A pandas DataFrame, told without importing pandas."""
    return all(hasattr(found, name) for name in ("columns", "select_dtypes", "to_numpy"))
