"""The log of a search: one line of JSON for its settings, then one for each candidate, so that a killed search goes on.

A line is on the disk before the next candidate counts; a last line that a kill cut short is dropped on reading.
"""

import json
import os
from pathlib import Path
from typing import Any

from normkit.data import write_atomically
from normkit.search.candidate import Candidate

__all__ = ["Ledger"]


class Ledger:
    """Candidates by index, in memory and, with a path, on the disk.

    Args:
        path: the file; begun where it is missing, None keeps nothing.
        settings: of the search; plain values.

    Raises:
        ValueError: the file is no log, or one of a search with other settings.
        OSError: it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str] | None, settings: dict[str, Any]) -> None:
        self.candidates: dict[int, Candidate] = {}
        self.path = None if path is None else Path(path)
        if self.path is None:
            return
        header = json.dumps({"settings": settings}, sort_keys=True)
        if self.path.exists():
            self._read(self.path, json.loads(header)["settings"])
        else:
            write_atomically(self.path, f"{header}\n")

    def add(self, *candidates: Candidate) -> None:
        """Keep candidates, on the disk first; those that are there already are passed over."""
        new = [each for each in candidates if each.index not in self.candidates]
        if self.path is not None and new:
            with self.path.open("a", encoding="utf-8") as file:
                file.write("".join(f"{json.dumps(each.to_dict(), ensure_ascii=False)}\n" for each in new))
                file.flush()
                os.fsync(file.fileno())
        self.candidates.update({each.index: each for each in new})

    def _read(self, path: Path, settings: dict[str, Any]) -> None:
        *whole, rest = path.read_bytes().split(b"\n")  # what a kill cut short need not be text
        try:
            before = json.loads(whole[0])["settings"]
            found = [Candidate.from_dict(json.loads(line)) for line in whole[1:]]
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise ValueError(f"{path} is no log of a search ({error}): name another file, or delete it") from error
        if differing := sorted(name for name in before | settings if before.get(name) != settings.get(name)):
            raise ValueError(
                f"{path} holds a search with another {', '.join(differing)}: give the same settings, or another file"
            )
        if rest:
            write_atomically(path, b"".join(line + b"\n" for line in whole))
        self.candidates = {each.index: each for each in found}
