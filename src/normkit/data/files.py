"""Files that are either whole or not there: write beside the target, then rename.

A rename inside one folder is atomic on every platform that torch runs on, so a killed run leaves the old file or the
new one, never half of either.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

__all__ = ["atomic", "writable_folder", "write_atomically"]


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it becomes `path`, on any exception it is removed.

    Raises:
        OSError: the folder of `path` does not exist or cannot be written; the message names it.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder, and a file is to be written there: give a file name inside it")
    temporary = _beside(target)
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: str | os.PathLike[str], content: bytes | str) -> Path:
    """Write `content` (text as UTF-8) to `path` as a whole or not at all; returns the path.

    Raises:
        OSError: as `atomic`.
    """
    data = content.encode() if isinstance(content, str) else content
    with atomic(path) as temporary:
        temporary.write_bytes(data)
    return Path(path)


def writable_folder(path: str | os.PathLike[str], force: bool = False) -> Path:
    """Create the folder `path` where it is missing, prove that it can be written, and return it.

    Raises:
        FileExistsError: it holds files and `force` is false, so nothing is overwritten unasked.
        OSError: it cannot be created or written; the message names it and the reason.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(f"the folder {folder} cannot be created ({_reason(error)}): choose another") from None
    if not force and any(folder.iterdir()):
        raise FileExistsError(f"the folder {folder} is not empty: choose another, or pass force=True (--force)")
    _beside(folder / "probe").unlink()
    return folder


def _beside(target: Path) -> Path:
    """An empty temporary file in the folder of `target`, with the permissions that a plain `open` would give."""
    folder = target.parent
    try:
        with NamedTemporaryFile(dir=folder, prefix=f".{target.name}.", suffix=".part", delete=False) as file:
            temporary = Path(file.name)
    except OSError as error:
        raise type(error)(f"the folder {folder} cannot be written ({_reason(error)}): choose another") from None
    temporary.chmod(0o666 & ~_umask())
    return temporary


def _umask() -> int:
    mask = os.umask(0)  # there is no way to read it without setting it
    os.umask(mask)
    return mask


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
