"""Columns of the reader's table, written as Python that runs: `table` is what `diagnose(table)` was given.

    a DataFrame            table[['Si', 'Al']], or table.iloc[:, [0, 3]] where names are no literals or not distinct
    an array or a tensor   table[:, [0, 3]]
    a `Table`              table.to_frame()[['Si', 'Al']], or normkit.data.read_table(file).to_frame()[['Si', 'Al']]

with the rows left out that cannot be taken apart into shares: those with gaps, and those with nothing but zeros.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from normkit.data import Table

__all__ = ["columns_in_python"]

_LISTED = 12
"""Up to so many columns are listed one by one; more are a slice, or the table without the others."""


def columns_in_python(table: Table, places: Sequence[int]) -> str:
    """The columns at `places` of the table's values without the rows that hold gaps or nothing, as an expression."""
    values = table.values[:, list(places)]
    gaps, endless = bool(np.isnan(values).any()), bool(np.isinf(values).any())
    empty = bool((values == 0).all(1).any())
    if isinstance(table.source, np.ndarray | Tensor):
        return _of_array(table.source, list(places), gaps or empty, endless)
    if table.source is None or isinstance(table.source, str):
        names, start = list(table.names), f"{table.source or 'table'}.to_frame()"
    else:
        names, start = list(table.source.columns), "table"
        numbers = table.source.iloc[:0].set_axis(range(len(names)), axis=1).select_dtypes("number").columns
        places = [int(numbers[place]) for place in places]
    chosen = _of_frame(names, list(places), start)
    if endless:
        chosen += '.replace(float("inf"), float("nan"))'
    if gaps or endless:
        chosen += ".dropna()"
    return chosen + (".loc[lambda rows: rows.sum(axis=1) > 0]" if empty else "")


def _of_array(array: Any, places: list[int], incomplete: bool, endless: bool) -> str:
    whole = len(places) == array.shape[1] > _LISTED
    chosen = "table" if whole else f"table[:, {_slice_or_list(places)}]"
    if incomplete or endless:
        kept = '(parts.sum(1) > 0) & (parts.sum(1) < float("inf"))' if endless else "parts.sum(1) > 0"
        chosen = f"(parts := {chosen})[{kept}]"  # no comparison with NaN is true
    return chosen + (".numpy(force=True)" if isinstance(array, Tensor) else "")


def _of_frame(names: list[Any], places: list[int], start: str) -> str:
    names = [name.item() if isinstance(name, np.generic) else name for name in names]
    labels = [names[place] for place in places]
    others = [name for place, name in enumerate(names) if place not in set(places)]
    plain, many = len(set(names)) == len(names) and all(map(_literal, names)), len(places) > _LISTED
    if many and not others:
        chosen = start
    elif many and plain and len(others) <= _LISTED:
        chosen = f"{start}.drop(columns={others!r})"
    elif plain and not (many and _side_by_side(places)):
        chosen = f"{start}[{labels!r}]"
    else:
        chosen = f"{start}.iloc[:, {_slice_or_list(places)}]"
    return _named(chosen, labels)


def _named(chosen: str, labels: list[Any]) -> str:
    """With names that scikit-learn takes: distinct ones, all strings or none."""
    if len(set(labels)) < len(labels):
        return f"{chosen}.set_axis(range({len(labels)}), axis=1)"
    mixed = 0 < sum(isinstance(label, str) for label in labels) < len(labels)
    return f"{chosen}.rename(columns=str)" if mixed else chosen


def _slice_or_list(places: list[int]) -> str:
    if len(places) > _LISTED and _side_by_side(places):
        return f"{places[0]}:{places[-1] + 1}"
    return repr(places)


def _side_by_side(places: list[int]) -> bool:
    return places == list(range(places[0], places[-1] + 1))


def _literal(label: Any) -> bool:
    """Whether `repr` gives it back: strings and whole numbers, alone or in levels."""
    if isinstance(label, tuple):
        return all(map(_literal, label))
    return type(label) in (str, int)
