"""How much memory this process holds and held at most, and how much the machine has left."""

import ctypes
import gc
import re
import sys
from pathlib import Path

__all__ = ["PeakMemory", "free_bytes"]

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


class PeakMemory:
    """The most that this process holds from now on, beyond what it holds now, in bytes.

    On Linux the kernel's own high-water mark, set back first. Memory that was freed but not returned is returned before
    that, or the call would find it there and seem to need none. Elsewhere the mark cannot be set back: then what is
    reported is how far it rises, too little where the process has held more before.
    """

    def __init__(self) -> None:
        gc.collect()
        _return_free_memory()
        self._before = _held() if _set_back() else _most_held()

    def bytes(self) -> int:
        """The most held since this object was made, less what was held then."""
        return max(0, _most_held() - self._before)


def free_bytes() -> float:
    """Bytes that a new process can have without swapping: what the machine and a control group leave; else infinity."""
    limits = [float("inf")]
    meminfo = Path("/proc/meminfo")
    if meminfo.exists() and (found := re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(), re.MULTILINE)):
        limits.append(1024.0 * int(found[1]))
    group = Path("/sys/fs/cgroup")
    most, current = group / "memory.max", group / "memory.current"
    if most.exists() and current.exists() and (limit := most.read_text().strip()).isdigit():
        limits.append(float(limit) - float(current.read_text()))
    return max(0.0, min(limits))


def _return_free_memory() -> None:
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def _set_back() -> bool:
    """Set the high-water mark to what is held now; whether that was possible."""
    try:
        _CLEAR.write_text("5")
    except OSError:
        return False
    return True


def _held() -> int:
    return _from_status("VmRSS")


def _most_held() -> int:
    # Not `ru_maxrss` where it can be helped: a new process inherits its parent's, however large.
    if _STATUS.exists():
        return _from_status("VmHWM")
    import resource  # not on Windows

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def _from_status(key: str) -> int:
    found = re.search(rf"^{key}:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise OSError(f"{_STATUS} does not say {key}")
    return 1024 * int(found[1])
