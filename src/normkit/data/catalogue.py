"""Which data sets there are, where they are looked for, and how they are loaded.

A set is found in this order: the folder `$NORMKIT_DATA/<folder>` (or, without the variable, the platform's cache
folder), then the installed package that brings it, then, only when the user asks with `download=True`, the
internet. There is no fourth place: nothing else is ever taken in its stead.
"""

import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

from normkit import listing
from normkit.data.bunch import Bunch, DataNotFound, DataSet
from normkit.data.files import writable_folder

__all__ = ["describe", "load", "names", "root"]


@cache
def _sets() -> dict[str, DataSet]:
    found = [value for module in listing.modules("normkit.data.sets") for value in vars(module).values()]
    return {each.name: each for each in found if isinstance(each, DataSet)}


def names() -> list[str]:
    """The names of all data sets that `load` knows, sorted; not all need be on this machine (see `describe`)."""
    return sorted(_sets())


def root() -> Path:
    """The folder that holds the data sets: `$NORMKIT_DATA`, else the platform's cache folder for normkit."""
    if chosen := os.environ.get("NORMKIT_DATA"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "normkit" / "data"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "normkit" / "data"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "normkit" / "data"


def describe(name: str) -> dict[str, Any]:
    """The facts of one set: summary, source, licence, citation, files, bytes, where it is and whether it is there.

    Raises:
        KeyError: no set has that name; the message names the closest ones.
    """
    chosen = _find(name)
    return {
        "name": chosen.name,
        "summary": chosen.summary,
        "source": chosen.source,
        "licence": chosen.licence,
        "citation": chosen.citation,
        "files": list(chosen.files),
        "bytes": chosen.size,
        "folder": str(_folder(chosen)) if chosen.files else None,
        "available": not _missing(chosen),
        "can_download": chosen.fetch is not None,
    }


def load(name: str, *, download: bool = False) -> Bunch:
    """Load the data set `name` as numpy arrays: `Bunch(X, y, split, meta)`.

    Args:
        name: one of `names()`.
        download: fetch the files from the internet into the data folder when they are not there.

    Raises:
        KeyError: no set has that name; the message names the closest ones.
        DataNotFound: the files are not on this machine; the message names them, their size and the ways to get them.
        ValueError: a file is there but damaged.
    """
    chosen = _find(name)
    if not chosen.files:
        return chosen.bunch(None)
    folder = _folder(chosen)
    if missing := _missing(chosen):
        if not download:
            raise DataNotFound(_not_found(chosen, missing))
        _fetch(chosen, folder)
    return _decode(chosen, folder)


def _decode(chosen: DataSet, folder: Path) -> Bunch:
    try:
        return chosen.bunch(folder)
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise ValueError(f"the files of {chosen.name} in {folder} are damaged ({error}): get them anew") from error


def _fetch(chosen: DataSet, folder: Path) -> None:
    if chosen.fetch is None:
        raise DataNotFound(_not_found(chosen, _missing(chosen)))
    chosen.fetch(writable_folder(folder, force=True))


def _find(name: str) -> DataSet:
    known = _sets()
    if name in known:
        return known[name]
    raise KeyError(f"there is no data set {name!r}: {listing.meant(name, sorted(known))}")


def _folder(chosen: DataSet) -> Path:
    return root() / (chosen.folder or chosen.name)


def _missing(chosen: DataSet) -> list[str]:
    folder = _folder(chosen)
    return [file for file in chosen.files if not (folder / file).is_file()]


def _not_found(chosen: DataSet, missing: list[str]) -> str:
    third = (
        f'let normkit fetch it: `normkit data fetch {chosen.name}` or load("{chosen.name}", download=True)'
        if chosen.fetch is not None
        else "it has no automatic download: ask whoever keeps your data for the folder"
    )
    return (
        f"{chosen.name} is not on this machine: {_folder(chosen)} lacks {', '.join(missing)} "
        f"({chosen.size / 1e6:.1f} MB in all). Three ways to get it: (1) put the files there, from: {chosen.source}; "
        f"(2) set NORMKIT_DATA to a folder that holds {chosen.folder or chosen.name}/; (3) {third}"
    )
