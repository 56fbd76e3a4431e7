"""The machine that a figure belongs to: processor, caches, memory settings, versions, the state of the source."""

import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from normkit import __version__
from normkit.benchmarks._harness.roof import caches
from normkit.report import machine as machine_in_words

__all__ = ["active_isa", "huge_pages", "instruction_sets", "machine"]

_SETS = ("sse4_2", "avx2", "fma", "avx512f", "avx512bw", "avx512_bf16", "amx_tile", "asimd", "sve", "sve2")


def machine() -> dict[str, Any]:
    """What `bench` says of the machine: the keys of its JSON object's `machine`."""
    words = machine_in_words()
    return {
        "cpu": words["cpu"],
        "isa": instruction_sets(),
        "active_isa": active_isa(),
        "cores": words["cores"],
        "caches": caches(),
        "thp": huge_pages(),
        "torch": torch.__version__,
        "triton": _version("triton"),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "driver": _driver(),
        "clocks": _clocks(),
        "normkit": __version__,
        "git": _commit(),
    }


def instruction_sets() -> list[str]:
    """The vector instruction sets of the processor that matter here, as the system names them."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return []
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo.read_text(errors="replace"), re.MULTILINE)
    has = set(flags[1].split()) if flags else set()
    return [name for name in _SETS if name in has]


def active_isa() -> str | None:
    """The instruction set that normkit's native kernels run with; None where there are none."""
    try:
        from normkit import _native
    except ImportError:
        return None
    return str(_native.isa())


def huge_pages() -> str | None:
    """The system's setting of transparent huge pages: `always`, `madvise`, `never`; None where there is none."""
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    chosen = re.search(r"\[(\w+)\]", setting.read_text()) if setting.exists() else None
    return chosen[1] if chosen else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _driver() -> str | None:
    """The GPU driver's version, as its own tool says it, or the file of its kernel module."""
    if said := _gpu_says("driver_version"):
        return said["driver_version"]
    version = Path("/proc/driver/nvidia/version")
    found = re.search(r"Module.*?\s(\d[\d.]*)", version.read_text()) if version.exists() else None
    return found[1] if found else None


def _clocks() -> dict[str, str]:
    """The GPU's clocks now and at most, its limit of power and its temperature; empty where there is none."""
    fields = ("clocks.sm", "clocks.max.sm", "clocks.mem", "clocks.max.mem", "power.limit", "temperature.gpu")
    return _gpu_says(*fields)


def _gpu_says(*fields: str) -> dict[str, str]:
    """What nvidia-smi says of the first GPU; empty where it is not there."""
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader", "--id=0"]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(zip(fields, map(str.strip, done.stdout.strip().split(",")), strict=False))


def _commit() -> str | None:
    """The commit of the source tree that is running, `+` behind it where files differ; None for an installed wheel."""
    here = Path(__file__).parent
    try:
        commit = _git(here, "rev-parse", "--short", "HEAD")
        tracked = _git(here, "ls-files", "--error-unmatch", __file__)
        changed = _git(here, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changed else "") if tracked else None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True, timeout=5)
    return done.stdout.strip()
