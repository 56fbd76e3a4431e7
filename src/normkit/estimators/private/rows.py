"""Rows in blocks of bounded memory, dense whatever they came as: a row's cost must not tell where it is zero."""

from collections.abc import Iterator
from typing import Any

from scipy.sparse import issparse

__all__ = ["row_blocks"]

_BLOCK = 2**22  # numbers held at once; a block is then a few tens of megabytes


def row_blocks(X: Any, width: int) -> Iterator[tuple[slice, Any]]:
    """Where each block of rows stands, and its rows as an array; `width` numbers are going to be made of a row."""
    size = max(1, _BLOCK // max(1, width, X.shape[1]))
    for start in range(0, X.shape[0], size):
        place = slice(start, start + size)
        yield place, X[place].toarray() if issparse(X) else X[place]
