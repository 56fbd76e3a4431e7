"""Finds tiles and crossovers by measurement on the GPU at hand, for `tuning` to keep; no user's call ever waits for it.

Widths are powers of two, because a tile is; a width between two of them takes the tile of the larger.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from normkit.kernels.triton import cross_entropy, launch, norms, softmax, tuning
from normkit.kernels.triton.availability import INTERPRETED, WHY_NOT
from normkit.kernels.triton.launch import Tile

if find_spec("triton") is not None:
    from triton.errors import TritonError

__all__ = ["OPERATIONS", "WIDTHS", "Found", "tune", "tune_crossovers"]

Call = Callable[[], object]
_ELEMENTS = 1 << 24  # of a measured input: more than caches hold
_WARPS = (1, 2, 4, 8, 16, 32)
WIDTHS = tuple(1 << power for power in range(6, 16))
_NO_SLOWER = 1.05  # times torch's: where both move bytes as fast as memory does, chance decides who is ahead
_WORTH_IT = 0.97  # of the heuristic's time; a smaller gain may be noise


class Found(NamedTuple):
    """The best tile of an operation on rows of a width, and its time over that of the heuristic's tile."""

    key: str
    tile: Tile
    ratio: float


def _softmax(x: Tensor) -> Call:
    return lambda: softmax.forward(softmax.SOFTMAX, x)


def _softmax_backward(x: Tensor) -> Call:
    return lambda: softmax.backward(softmax.SOFTMAX, x, x)


def _norm(x: Tensor) -> Call:
    norm, weight = norms.Norm(norms.LAYER, x.shape[1], 1e-5), x[0].clone()
    return lambda: norms.forward(norm, x, None, weight, weight)


def _norm_backward(x: Tensor) -> Call:
    norm, weight = norms.Norm(norms.LAYER, x.shape[1], 1e-5), x[0].clone()
    _, _, mean, rstd = norms.forward(norm, x, None, weight, weight)
    return lambda: norms.backward(norm, x, weight, mean, rstd, x, None, (x.dtype, x.dtype))


def _cross_entropy(x: Tensor) -> Call:
    settings, target = cross_entropy.Settings(-100, "mean", 0.0), _targets(x)
    return lambda: cross_entropy.forward(x, target, None, settings)


def _cross_entropy_backward(x: Tensor) -> Call:
    settings, target, one = cross_entropy.Settings(-100, "mean", 0.0), _targets(x), x.new_ones(())
    _, kept = cross_entropy.forward(x, target, None, settings)
    return lambda: cross_entropy.backward(x, target, None, one, kept, settings)


def _targets(x: Tensor) -> Tensor:
    return torch.zeros(x.shape[0], dtype=torch.int64, device=x.device)


OPERATIONS: dict[str, tuple[Callable[[Tensor], Call], int | None]] = {
    "softmax": (_softmax, None),
    "softmax_backward": (_softmax_backward, softmax.WIDEST_BACKWARD),
    "norm": (_norm, None),
    "norm_backward": (_norm_backward, norms.WIDEST_BACKWARD),
    "cross_entropy": (_cross_entropy, None),
    "cross_entropy_backward": (_cross_entropy_backward, launch.CHUNK),
}


def tune(
    operations: Sequence[str] | None = None,
    *,
    device: torch.device | None = None,
    dtypes: Sequence[torch.dtype] = (torch.float32, torch.bfloat16),
    widths: Sequence[int] = WIDTHS,
    seconds: float = math.inf,
    elements: int = _ELEMENTS,
    measure: Callable[[Call], float] | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[Found]:
    """Measure the tiles of `operations` (all by default), keep what is at least 3 % quicker, and return it.

    `widths` are powers of two, taken in their order for all operations; after so many `seconds` no other is begun, and
    what has been found till then is kept. `measure` gives the time of a call; Triton's own stopwatch by default.

    Raises:
        RuntimeError: no GPU kernel runs here; says why.
        ValueError: an operation is unknown.
    """
    if WHY_NOT or (INTERPRETED and measure is None):
        raise RuntimeError(f"there is nothing to tune: {WHY_NOT or 'an interpreter has no speed'}")
    unknown = set(operations or ()) - OPERATIONS.keys()
    if unknown:
        raise ValueError(f"no GPU operation is called {sorted(unknown)[0]!r}; there are {', '.join(OPERATIONS)}")
    device = device or torch.device("cuda", torch.cuda.current_device())
    found: list[Found] = []
    deadline = time.perf_counter() + seconds
    for block, op, dtype in product(widths, operations or OPERATIONS, dtypes):
        if time.perf_counter() > deadline:
            break
        if block <= (OPERATIONS[op][1] or launch.WIDEST[dtype.itemsize]):
            if progress:
                progress(f"tune {op} {str(dtype).removeprefix('torch.')} {block}")
            found += _of_width(op, block, dtype, device, elements, measure or _stopwatch)
    tuning.record(device, {each.key: {"ROWS": each.tile.ROWS, "num_warps": each.tile.num_warps} for each in found})
    _forget()
    return found


def tune_crossovers(
    *,
    device: torch.device | None = None,
    dtypes: Sequence[torch.dtype] = (torch.float32, torch.bfloat16),
    measure: Callable[[Call], float] | None = None,
    progress: Callable[[str], None] | None = None,
) -> dict[str, int]:
    """Measure, keep and return the numbers of elements from which on a call is no slower than torch's, host and all.

    No slower is: at most 5 %.

    Raises:
        RuntimeError: no GPU kernel runs here; says why.
    """
    if WHY_NOT or (INTERPRETED and measure is None):
        raise RuntimeError(f"there is nothing to tune: {WHY_NOT or 'an interpreter has no speed'}")
    device = device or torch.device("cuda", torch.cuda.current_device())
    found: dict[str, int] = {}
    for op, dtype in product(_BESIDE_TORCH, dtypes):
        key = f"{op} {str(dtype).removeprefix('torch.')} crossover"
        if progress:
            progress(key)
        found[key] = _crossover(op, dtype, device, measure or _latency)
    tuning.record(device, found)
    return found


_BESIDE_TORCH: dict[str, tuple[Callable[[Tensor], object], Callable[[Tensor], object]]] = {
    "softmax": (lambda x: softmax.softmax(x, -1), lambda x: torch.softmax(x, -1)),
    "log_softmax": (lambda x: softmax.log_softmax(x, -1), lambda x: torch.log_softmax(x, -1)),
    "logsumexp": (lambda x: softmax.logsumexp(x, -1), lambda x: torch.logsumexp(x, -1)),
    "layer_norm": (
        lambda x: norms.layer_norm(x, x.shape[-1:], None, None, 1e-5),
        lambda x: torch.layer_norm(x, x.shape[-1:], None, None, 1e-5),
    ),
    "rms_norm": (
        lambda x: norms.rms_norm(x, x.shape[-1:], None, 1e-5),
        lambda x: torch.rms_norm(x, x.shape[-1:], None, 1e-5),
    ),
}
_SIZES = [1 << power for power in range(10, 23)]


def _crossover(op: str, dtype: torch.dtype, device: torch.device, measure: Callable[[Call], float]) -> int:
    """The smallest size from which on ours is no slower at any; twice the largest size where it always is."""
    ours, torchs = _BESIDE_TORCH[op]
    least = 2 * _SIZES[-1]
    for size in reversed(_SIZES):
        x = torch.randn(size // 1024, 1024, device=device).to(dtype)
        if measure(lambda x=x: ours(x)) > _NO_SLOWER * measure(lambda x=x: torchs(x)):
            return least
        least = size
    return 0


def _latency(call: Call) -> float:
    """Seconds a call as a program that does nothing else sees them: launches from Python and what they wait for."""
    calls = 200
    for _ in range(20):
        call()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(calls):
        call()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / calls


def _stopwatch(call: Call) -> float:
    from triton.testing import do_bench

    return do_bench(call, return_mode="median")


def _of_width(
    op: str, block: int, dtype: torch.dtype, device: torch.device, elements: int, measure: Callable[[Call], float]
) -> Iterator[Found]:
    make, widest = OPERATIONS[op]
    call = make(torch.randn(max(1, elements // block), block, device=device).to(dtype))
    key = tuning.key(op, block, dtype)
    with _trying(key, None):
        usual = launch.tile(op, block, dtype, device, widest or 0)
        before = measure(call)
    assert usual is not None, "no wider than a tile"
    times = {usual: before}
    for tile in _candidates(usual):
        with (
            _trying(key, tile),
            suppress(RuntimeError, TritonError),
        ):  # one that the device has no room for is no choice
            times[tile] = measure(call)
    best = min(times, key=lambda tile: times[tile])
    if times[best] < _WORTH_IT * before:
        yield Found(key, best, times[best] / before)


def _candidates(usual: Tile) -> list[Tile]:
    """Other tiles of the same width: fewer or more rows for short ones, and warps that leave 4 to 32 elements each."""
    rows = {usual.ROWS} if usual.BLOCK > 1024 else {max(1, usual.ROWS // 4), usual.ROWS, 4 * usual.ROWS}
    sized = [(count, warps, count * usual.BLOCK // (32 * warps)) for count in sorted(rows) for warps in _WARPS]
    tiles = [Tile(count, usual.BLOCK, warps) for count, warps, each in sized if 4 <= each <= 32]
    return [tile for tile in tiles if tile != usual]


@contextmanager
def _trying(key: str, tile: Tile | None) -> Iterator[None]:
    """Launches take `tile` for the key while the block runs, or what the heuristics say."""
    tuning.trial[key] = None if tile is None else {"ROWS": tile.ROWS, "num_warps": tile.num_warps}
    _forget()
    try:
        yield
    finally:
        del tuning.trial[key]
        _forget()


def _forget() -> None:
    launch.tile.cache_clear()
    launch.chunk.cache_clear()
