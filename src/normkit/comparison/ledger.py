"""The runs that are done, one JSON line each, so that a comparison that was stopped goes on where it stopped."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from normkit.data import writable_folder, write_atomically

__all__ = ["Ledger", "Run", "RunKey"]


@dataclass(frozen=True)
class RunKey:
    """Which run: a method under a learning rate, a batch size and a seed."""

    method: str
    lr: float
    batch_size: int
    seed: int


@dataclass(frozen=True)
class Run:
    """What a run gave: the quality on held-out data, the last training losses' mean, and whether it diverged."""

    key: RunKey
    quality: float
    loss: float | None
    diverged: bool
    seconds: float


class Ledger:
    """The runs done so far; with a folder they stand in `runs.jsonl` there, beside the `settings.json` they belong to.

    A line is written whole as soon as its run ends; a last line that a kill cut short is dropped on reading.

    Raises:
        ValueError: the folder holds a comparison with other settings, or lines that are no runs.
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, settings: dict[str, Any]) -> None:
        self.runs: dict[RunKey, Run] = {}
        self.path: Path | None = None
        if folder is not None:
            place = writable_folder(folder, force=True)
            self.path = place / "runs.jsonl"
            self._open(place / "settings.json", settings)

    def __contains__(self, key: RunKey) -> bool:
        return key in self.runs

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs.values())

    def add(self, run: Run) -> None:
        """Keep a run, on disk first."""
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(run)) + "\n")
                file.flush()
                os.fsync(file.fileno())
        self.runs[run.key] = run

    def _open(self, header: Path, settings: dict[str, Any]) -> None:
        assert self.path is not None
        text = json.dumps(settings, indent=1, sort_keys=True)
        if header.exists():
            if differing := _differing(header, json.loads(text)):
                raise ValueError(
                    f"{header.parent} holds a comparison with another {', '.join(differing)}: choose another folder, "
                    "or delete it to start anew"
                )
        else:
            write_atomically(header, text)
        if self.path.exists():
            self._read(self.path)

    def _read(self, path: Path) -> None:
        lines = path.read_text(encoding="utf-8").split("\n")
        whole, rest = lines[:-1], lines[-1]
        for number, line in enumerate(whole, 1):
            try:
                content = json.loads(line)
                run = Run(**{**content, "key": RunKey(**content["key"])})
            except (ValueError, TypeError, KeyError) as error:
                raise ValueError(f"{path}, line {number} is no run ({error}): delete the file to start anew") from error
            self.runs[run.key] = run
        if rest:
            write_atomically(path, "".join(f"{line}\n" for line in whole))


def _differing(header: Path, settings: dict[str, Any]) -> list[str]:
    try:
        before = json.loads(header.read_text(encoding="utf-8"))
        names = before.keys() | settings.keys()
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{header} is no settings file ({error}): delete the folder to start anew") from error
    return sorted(name for name in names if before.get(name) != settings.get(name))
