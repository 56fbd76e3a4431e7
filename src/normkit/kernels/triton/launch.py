"""The size of a tile and the number of warps that work on it, and the launch itself."""

from functools import cache
from typing import Any, NamedTuple

import torch

from normkit.kernels.triton import tuning
from normkit.kernels.triton.availability import INTERPRETED

__all__ = ["CHUNK", "WIDEST", "Tile", "chunk", "launch", "multiprocessors", "options", "pieces", "tile"]

# Widest row that one tile holds, by bytes of an element. Beyond, its registers would spill (softmax at 64 Ki elements
# loses a third of its bandwidth to that in other libraries): longer rows are walked in chunks.
WIDEST = {4: 16384, 2: 32768}
CHUNK = 4096  # columns at a time of a longer row
_SHORT = 256  # rows up to this width share a tile
_ELEMENTS = 1024  # of a tile of short rows
_PIECES_A_PROCESSOR = 2
_MOST_PIECES = 256


class Tile(NamedTuple):
    """Rows and columns of a tile, and the warps that work on it: 8 to 32 elements a thread, in vectors of 16 bytes."""

    ROWS: int
    BLOCK: int
    num_warps: int


@cache
def tile(op: str, width: int, dtype: torch.dtype, device: torch.device, widest: int = 0) -> Tile | None:
    """The tile for whole rows, None where a row is wider than `widest` (or what registers hold)."""
    block = max(16, 1 << (width - 1).bit_length())
    if block > (widest or WIDEST[dtype.itemsize]):
        return None
    tuned = tuning.lookup(op, block, dtype, device)
    if tuned is not None:
        return Tile(tuned["ROWS"], block, tuned["num_warps"])
    rows = _ELEMENTS // block if block <= _SHORT else 1
    return Tile(rows, block, _warps(rows * block))


@cache
def chunk(op: str, dtype: torch.dtype, device: torch.device) -> Tile:
    """The tile in which a long row is walked."""
    tuned = tuning.lookup(f"{op} chunk", CHUNK, dtype, device)
    return Tile(1, CHUNK, tuned["num_warps"] if tuned is not None else _warps(CHUNK))


def _warps(elements: int) -> int:
    """A power of two from 1 to 32, so that a thread has 8 elements, or 16 from 2048 on."""
    return min(32, max(1, elements // (256 if elements < 2048 else 512)))


def pieces(rows: int, width: int, block: int, device: torch.device) -> tuple[int, int]:
    """In how many pieces, of how many columns, each long row is cut: 1 where there are rows enough for the device."""
    wanted = min(_MOST_PIECES, _PIECES_A_PROCESSOR * multiprocessors(device) // max(rows, 1), -(-width // block))
    if wanted < 2:
        return 1, width
    columns = -(-width // (wanted * block)) * block
    return -(-width // columns), columns


@cache
def multiprocessors(device: torch.device) -> int:
    """How many programs the device runs side by side at least; 2 in the interpreter."""
    return 2 if device.type == "cpu" else torch.cuda.get_device_properties(device).multi_processor_count


def options(num_warps: int) -> dict[str, Any]:
    """How a program is compiled: products and sums fused only where it says so, whatever Triton's default.

    It may have all the registers that its warps can have at once. Left to itself the assembler may save registers for
    the sake of more programs side by side, and spill a few bytes for it.
    """
    return {"num_warps": num_warps, "enable_fp_fusion": False, "maxnreg": min(255, 65536 // (32 * num_warps))}


def launch(
    program: Any, grid: tuple[int, ...], device: torch.device, *args: Any, num_warps: int, **constants: Any
) -> None:
    """Run `program` on `device`."""
    if INTERPRETED or device.index == torch.cuda.current_device():
        program[grid](*args, **constants, **options(num_warps))
        return
    with torch.cuda.device(device):
        program[grid](*args, **constants, **options(num_warps))
