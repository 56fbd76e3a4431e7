"""The envelope of every JSON object that normkit prints: schema, versions, device and seconds beside the payload."""

import dataclasses
import math
import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from normkit import __version__

__all__ = ["SCHEMA", "envelope", "jsonable", "machine", "versions"]

SCHEMA = 1
"""Version of the JSON layout; it rises when a key changes its meaning or disappears."""


def versions() -> dict[str, str]:
    """Versions of normkit, Python and the packages that decide a figure."""
    found = {"normkit": __version__, "python": platform.python_version()}
    for package in ("torch", "numpy", "scikit-learn", "lightning-fabric", "transformers"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("model name", "Model")):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine() -> dict[str, Any]:
    """The machine in words: processor, cores, threads in use, operating system."""
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def jsonable(value: Any) -> Any:
    """`value` built of what JSON knows: dict, list, str, int, float, bool, null; NaN and ±inf become strings.

    JSON has no word for a number that is not finite; a string ("nan", "inf", "-inf") keeps it visible where null would
    hide it.
    """
    if isinstance(value, bool | str | int) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, torch.Tensor):
        return jsonable(value.detach().tolist())
    if isinstance(value, np.ndarray | np.generic):
        return jsonable(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): jsonable(entry) for key, entry in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: jsonable(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, set | frozenset):
        return [jsonable(entry) for entry in sorted(value, key=str)]
    if isinstance(value, list | tuple):
        return [jsonable(entry) for entry in value]
    return str(value)


def envelope(payload: Mapping[str, Any], *, seconds: float, device: str = "cpu") -> dict[str, Any]:
    """`payload` with `schema`, `versions`, `device` and `seconds` (wall time, s) added, ready for `json.dumps`."""
    head = {"schema": SCHEMA, "versions": versions(), "device": device, "seconds": round(seconds, 3)}
    return {**head, **jsonable(payload)}
