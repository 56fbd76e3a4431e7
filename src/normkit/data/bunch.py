"""What a data set is once it is loaded, and what is known of it before."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bunch", "DataNotFound", "DataSet", "Holding", "Meta"]

Arrays = tuple[NDArray[Any], NDArray[Any] | None, dict[str, NDArray[np.intp]]]
"""X, y (None where there are no labels), and the index arrays of the splits."""


class DataNotFound(FileNotFoundError):  # noqa: N818 - the name of the public contract
    """A data set is not on this machine; the message names the files, their size and the three ways to get them."""


@dataclass(frozen=True)
class Meta:
    """Where a data set comes from and on which terms.

    `name` is the set's own (`cifar10-mini` is never called `cifar10`), `read_from` the place it was read from this
    time; `details` holds what else belongs to the set, such as the names of the classes.
    """

    name: str
    summary: str
    source: str
    licence: str
    citation: str
    read_from: str = ""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Bunch:
    """A loaded data set, in numpy.

    - `X`: (N, …): images are uint8 (N, height, width, channels); texts are an object array of `str`, one a document.
    - `y`: (N,) labels or targets, or None where there are none.
    - `split`: name -> index array into `X`; the splits do not overlap.
    """

    X: NDArray[Any]
    y: NDArray[Any] | None
    split: dict[str, NDArray[np.intp]]
    meta: Meta

    def part(self, name: str) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """`X` and `y` of one split.

        Raises:
            KeyError: there is no such split; the message names those that there are.
        """
        if name not in self.split:
            raise KeyError(f"{self.meta.name} has no split {name!r}: its splits are {', '.join(self.split)}")
        index = self.split[name]
        return self.X[index], None if self.y is None else self.y[index]


@dataclass(frozen=True, kw_only=True)
class Holding:
    """What is known of files before they are read: where they come from, on which terms, and how to get them.

    - `files`: names inside the folder `folder` (default: `name`) of the data root; empty where a package brings them.
    - `fetch(folder)`: writes the files into `folder` from the internet; None where the terms or the lack of a public
      copy forbid it.
    - `size`: bytes of the files.
    """

    name: str
    summary: str
    source: str
    licence: str
    citation: str
    files: tuple[str, ...] = ()
    folder: str = ""
    size: int = 0
    fetch: Callable[[Path], None] | None = None


@dataclass(frozen=True, kw_only=True)
class DataSet(Holding):
    """A data set that `load` knows: its facts, its files and how they are read.

    `read(folder)` decodes the files; `folder` is None for a set without files.
    """

    read: Callable[[Path | None], Arrays]
    details: dict[str, Any] = field(default_factory=dict)

    def bunch(self, folder: Path | None) -> Bunch:
        """Decode the set from `folder` (None: from the package that brings it)."""
        X, y, split = self.read(folder)
        place = "an installed package" if folder is None else str(folder)
        meta = Meta(self.name, self.summary, self.source, self.licence, self.citation, place, dict(self.details))
        return Bunch(X, y, split, meta)
