"""Tiles and crossovers found by measurement, kept per GPU and Triton version; without them heuristics decide.

The file is `<cache folder>/normkit/triton/<GPU>-triton-<version>.json`; it is read once a process.
"""

import json
import os
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

__all__ = ["crossover", "key", "lookup", "path", "record", "trial"]

# What `tune` is measuring just now, by key; None stands for the heuristics.
trial: dict[str, dict[str, int] | None] = {}


def path(device: torch.device) -> Path:
    """The file of this GPU and this Triton in the platform's cache folder."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "normkit" / "triton"
    name = "interpreter" if device.type == "cpu" else torch.cuda.get_device_name(device)
    return folder / f"{name.replace(' ', '-').replace('/', '-')}-triton-{version('triton')}.json"


def key(op: str, block: int, dtype: torch.dtype) -> str:
    """How an operation with a tile of so many columns is called in the file."""
    return f"{op} {str(dtype).removeprefix('torch.')} {block}"


def lookup(op: str, block: int, dtype: torch.dtype, device: torch.device) -> dict[str, int] | None:
    """The measured `ROWS` and `num_warps` of a tile; None where nothing was measured."""
    if key(op, block, dtype) in trial:
        return trial[key(op, block, dtype)]
    found = _table(path(device)).get(key(op, block, dtype))
    return found if isinstance(found, dict) and {"ROWS", "num_warps"} <= found.keys() else None


@cache
def crossover(op: str, dtype: torch.dtype, device: torch.device, default: int) -> int:
    """The number of elements from which on the operation is quicker than torch's, as measured, or `default`."""
    found = _table(path(device)).get(f"{op} {str(dtype).removeprefix('torch.')} crossover")
    return found if isinstance(found, int) else default


def record(device: torch.device, found: dict[str, Any]) -> Path:
    """Add what was measured to the file, which is replaced as a whole or not at all; returns its path."""
    file = path(device)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(_read(file) | found, indent=1, sort_keys=True))
    os.replace(temporary, file)
    _table.cache_clear()
    crossover.cache_clear()
    return file


@cache
def _table(file: Path) -> dict[str, Any]:
    return _read(file)


def _read(file: Path) -> dict[str, Any]:
    """The file's table; empty where there is none, or what there is cannot be read."""
    try:
        table = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}
