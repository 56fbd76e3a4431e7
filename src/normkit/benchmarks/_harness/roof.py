"""The roof over memory-bound code: how fast this machine copies, measured in the same rounds as the code."""

import ctypes
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from jaxtyping import Shaped
from torch import Tensor

__all__ = ["cache_class", "caches", "copies", "last_level_bytes"]

_IN_CACHE = 256 * 1024
_MOST_PER_CORE = 8 * 1024 * 1024


def copies(source: Shaped[Tensor, "*shape"], threads: int) -> Mapping[str, Callable[[], object]]:
    """Calls that copy `source` into memory of its own that has been touched before.

    `copy` is torch's copy by ordinary stores. `copy/streaming` is the C library's `memmove`, which stores past the
    cache from a size of its own choice upwards; it knows one thread only, so it is left out with more. On a GPU `copy`
    is the device's own copy from memory to memory.
    """
    target = torch.empty_like(source).copy_(source)
    found: dict[str, Callable[[], object]] = {"copy": lambda: target.copy_(source)}
    if threads == 1 and source.device.type == "cpu" and source.is_contiguous():
        to, size = target.data_ptr(), source.numel() * source.element_size()
        start = source.data_ptr()
        # `target` and `source` are bound as defaults so that their memory lives as long as the call.
        found["copy/streaming"] = lambda _keep=(source, target): ctypes.memmove(to, start, size)
    return found


def caches() -> dict[str, int]:
    """Sizes in bytes of the first processor's data caches by level (`L1`, `L2`, `L3`), as the system reports them."""
    found = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        number = re.fullmatch(r"(\d+)([KMG]?)", size)
        if kind != "Instruction" and number:
            found[f"L{level}"] = int(number[1]) * 1024 ** " KMG".index(number[2] or " ")
    return found


def last_level_bytes(cores: int, device: str = "cpu") -> int:
    """The last-level cache in bytes: a GPU's L2, or a processor's, no more than 8 MiB per core of it.

    Virtual machines report one that others use too.
    """
    if device == "cuda":
        return int(torch.cuda.get_device_properties(torch.cuda.current_device()).L2_cache_size)
    reported = caches().values()
    return min(max(reported, default=_MOST_PER_CORE), _MOST_PER_CORE * cores)


def cache_class(working_set: int, cores: int, device: str = "cpu") -> str:
    """`in`, `out` (≥ 4 × the last-level cache) or `l3` (between) for so many bytes read and written.

    `in` is up to 256 KiB on a processor, up to half of the L2 cache on a GPU.
    """
    last_level = last_level_bytes(cores, device)
    if working_set <= (last_level // 2 if device == "cuda" else _IN_CACHE):
        return "in"
    return "out" if working_set >= 4 * last_level else "l3"
