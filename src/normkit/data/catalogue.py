"""Which data sets there are, where they are looked for, and how they are loaded.

A set is found in this order: the folder `$NORMKIT_DATA/<folder>` (or, without the variable, the platform's cache
folder), then the installed package that brings it, then, only when the user asks with `download=True`, the
internet. There is no fourth place: nothing else is ever taken in its stead.
"""

import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

from normkit import listing
from normkit.data.bunch import Bunch, DataNotFound, DataSet, Holding
from normkit.data.files import writable_folder

__all__ = ["decoded", "describe", "find_files", "load", "names", "root"]

T = TypeVar("T")


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
    how = f'`normkit data fetch {name}` or load("{name}", download=True)'
    return decoded(chosen, find_files(chosen, download, how), chosen.bunch)


def find_files(wanted: Holding, download: bool, how: str) -> Path:
    """The folder of files in which all those of `wanted` are; fetched first where asked for and possible.

    Args:
        wanted: the files.
        download: fetch what is not there.
        how: the call that fetches them, for the message.

    Raises:
        DataNotFound: as `load`.
    """
    folder = _folder(wanted)
    if missing := _missing(wanted):
        if not download or wanted.fetch is None:
            raise DataNotFound(_not_found(wanted, missing, how))
        wanted.fetch(writable_folder(folder, force=True))
    return folder


def decoded(wanted: Holding, folder: Path, read: Callable[[Path], T]) -> T:
    """What `read` makes of the files in `folder`.

    Raises:
        ValueError: a file is damaged.
    """
    try:
        return read(folder)
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        raise ValueError(f"the files of {wanted.name} in {folder} are damaged ({error}): get them anew") from error


def _find(name: str) -> DataSet:
    known = _sets()
    if name in known:
        return known[name]
    raise KeyError(f"there is no data set {name!r}: {listing.meant(name, sorted(known))}")


def _folder(wanted: Holding) -> Path:
    return root() / (wanted.folder or wanted.name)


def _missing(wanted: Holding) -> list[str]:
    folder = _folder(wanted)
    return [file for file in wanted.files if not (folder / file).is_file()]


def _not_found(wanted: Holding, missing: list[str], how: str) -> str:
    third = (
        f"let normkit fetch it: {how}"
        if wanted.fetch is not None
        else "it has no automatic download: ask whoever keeps your data for the folder"
    )
    return (
        f"{wanted.name} is not on this machine: {_folder(wanted)} lacks {', '.join(missing)} "
        f"({wanted.size / 1e6:.1f} MB in all). Three ways to get it: (1) put the files there, from: {wanted.source}; "
        f"(2) set NORMKIT_DATA to a folder that holds {wanted.folder or wanted.name}/; (3) {third}"
    )
