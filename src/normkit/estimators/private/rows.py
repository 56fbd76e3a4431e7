"""Rows in blocks of bounded memory, dense whatever they came as: a row's cost must not tell where it is zero."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.sparse import issparse

__all__ = ["row_blocks"]

_BLOCK = 2**22  # numbers held at once, 32 megabytes; what is made of a block, and of the frequencies, comes on top


def row_blocks(X: Any, width: int) -> Iterator[tuple[slice, Any]]:
    """Where each block of rows stands, and its rows as an array; `width` numbers are going to be made of a row.

    A sparse row may give one cell in several entries, which are added here, after every entry was found to be finite:
    where their sum is not, the largest number is taken, and nothing is said of it, for that would tell of the row.
    """
    size = max(1, _BLOCK // max(1, width, X.shape[1]))
    for start in range(0, X.shape[0], size):
        place = slice(start, start + size)
        yield place, _dense(X[place]) if issparse(X) else X[place]


def _dense(rows: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.nan_to_num(rows.toarray(), copy=False)
