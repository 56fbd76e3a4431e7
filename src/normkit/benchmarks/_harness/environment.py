"""What decides speed here: versions, processor, kernels active and missing, and what would speed things up."""

import os
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from normkit.benchmarks._harness.machine import machine
from normkit.kernels import available, native
from normkit.report import versions

__all__ = ["environment"]


def environment() -> dict[str, Any]:
    """What `normkit env` says, as one dict.

    Keys: `versions`; `machine` as in `bench`; `threads` (torch's); `native` (`usable`, `reason`, `isa`, `available`
    with one entry per instruction set, `threading`); `openmp_runtimes` mapped into this process (two of them make each
    other slow); `kernels` (one row per operation and kernel); `extras` (extra -> packages that it lacks here); `advice`
    (sentences).
    """
    found: dict[str, Any] = {
        "versions": versions(),
        "machine": machine(),
        "threads": torch.get_num_threads(),
        "native": _native(),
        "openmp_runtimes": native.openmp_runtimes(),
        "kernels": available(),
        "extras": missing_by_extra(),
    }
    return {**found, "advice": advice(found)}


def _native() -> dict[str, Any]:
    """The native module: whether it is there, which instruction sets it has, which one runs, how it threads."""
    if not native.AVAILABLE:
        return {"usable": False, "reason": native.WHY_NOT, "isa": None, "available": [], "threading": None}
    from normkit import _native as core

    return {
        "usable": True,
        "reason": "",
        "isa": core.isa(),
        "available": list(core.available()),
        "threading": core.threading(),
    }


def missing_by_extra() -> dict[str, list[str]]:
    """For each extra of normkit that a user may want, the packages that are not installed (empty: all there)."""
    try:
        required = metadata.requires("normkit") or []
    except metadata.PackageNotFoundError:
        return {}
    found: dict[str, list[str]] = {}
    for line in required:
        extra = re.search(r"""extra\s*==\s*['"]([\w-]+)['"]""", line)
        name = re.match(r"[\w.-]+", line)
        if extra and name and extra[1] not in ("all", "test", "docs"):
            missing = found.setdefault(extra[1], [])
            if not _installed(name[0]):
                missing.append(name[0])
    return found


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def advice(found: dict[str, Any]) -> list[str]:
    """What would make this environment faster or more complete, most telling first."""
    said = []
    if not found["native"]["usable"]:
        said.append(f"The native kernels are missing, softmax runs at torch's speed: {found['native']['reason']}")
    if off := os.environ.get("NORMKIT_DISABLE_KERNELS"):
        said.append(f"NORMKIT_DISABLE_KERNELS={off} switches kernels off; unset it to have them back.")
    if len(found["openmp_runtimes"]) > 1:
        runtimes = ", ".join(Path(name).name for name in found["openmp_runtimes"])
        said.append(f"Several OpenMP runtimes are loaded ({runtimes}): they fight for the cores; import torch first.")
    if found["threads"] < (found["machine"]["cores"] or 1):
        said.append(
            f"torch uses {found['threads']} of {found['machine']['cores']} cores: torch.set_num_threads or "
            "OMP_NUM_THREADS decides."
        )
    return said + _memory_advice(found["machine"]["thp"]) + _extras_advice(found["extras"])


def _memory_advice(huge_pages: str | None) -> list[str]:
    if huge_pages == "never":
        return ["Huge pages are off: large fresh outputs pay for page faults; `madvise` in /sys/kernel/mm helps."]
    if huge_pages == "madvise" and os.environ.get("THP_MEM_ALLOC_ENABLE") != "1":
        return ["THP_MEM_ALLOC_ENABLE=1 lets torch ask for huge pages too: its large fresh tensors get cheaper."]
    return []


def _extras_advice(extras: dict[str, list[str]]) -> list[str]:
    return [
        f'The extra {extra} lacks {", ".join(missing)}: pip install "normkit[{extra}]"'
        for extra, missing in extras.items()
        if missing
    ]
