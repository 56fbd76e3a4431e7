"""`bench --tune --device cuda`: the tiles of the GPU kernels and the sizes from which on they are called, measured."""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from normkit.benchmarks._harness.run import why_no_gpu
from normkit.kernels.triton.availability import WHY_NOT

__all__ = ["GpuTuned", "tune_gpu"]

_TUNED_AS = {
    "softmax": "softmax",
    "log_softmax": "softmax",
    "logsumexp": "softmax",
    "layer_norm": "norm",
    "rms_norm": "norm",
    "crms_norm": "norm",
    "add_layer_norm": "norm",
    "add_rms_norm": "norm",
    "cross_entropy": "cross_entropy",
}
_COMMON = (4096, 1024, 8192)  # widths of the models of today


class GpuTuned(NamedTuple):
    """What was measured and kept.

    Attributes:
        tiles: per operation, dtype and width the quicker tile: `key`, `ROWS`, `BLOCK`, `num_warps`, and `ratio`, its
            time over that of the one that is taken otherwise.
        crossovers: numbers of elements from which on the GPU kernel is taken instead of torch's.
        table: the file in which later processes find both; None where nothing was measured.
        skipped: why nothing was measured; empty otherwise.
    """

    tiles: list[dict[str, Any]]
    crossovers: dict[str, int]
    table: str | None
    skipped: str = ""


def tune_gpu(
    ops: Iterable[str],
    *,
    quick: bool = False,
    minutes: float | None = None,
    progress: Callable[[str], None] | None = None,
) -> GpuTuned:
    """Measure tiles and crossovers on the current GPU and keep them for all later processes of this user.

    `quick` measures three widths instead of all; after so many `minutes` no other width is begun. Operations that have
    no tiles of their own are passed over.
    """
    if why := why_no_gpu() or WHY_NOT:
        return GpuTuned([], {}, None, why)
    import torch

    from normkit.kernels.triton import tune, tuning

    kinds = sorted({_TUNED_AS[op] for op in ops if op in _TUNED_AS})
    names = [name for kind in kinds for name in (kind, f"{kind}_backward")]
    if not names:
        return GpuTuned([], {}, None, "none of these operations has tiles of its own on a GPU")
    crossovers = tune.tune_crossovers(progress=progress)
    seconds = math.inf if minutes is None else 60 * minutes
    widths = _COMMON if quick else tune.WIDTHS
    found = tune.tune(names, widths=widths, seconds=seconds, progress=progress)
    tiles = [{"key": each.key, **each.tile._asdict(), "ratio": each.ratio} for each in found]
    table = tuning.path(torch.device("cuda", torch.cuda.current_device()))
    return GpuTuned(tiles, crossovers, str(table))
