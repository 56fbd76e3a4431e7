"""What a suite promises: the speed that its rows must reach against a peer, another kernel or the copy."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import prod

import torch

from normkit.benchmarks._harness.setting import Scene, Shape

__all__ = ["Bar", "alone_on_gpu", "bars_of", "large", "never_slower", "quick_on_gpu", "trained"]


@dataclass(frozen=True)
class Bar:
    """Rows that it covers must be at least `ratio` times as fast as `to`.

    Args:
        ratio: least median of the per-round ratios; below 1 where being that little slower is allowed.
        to: a peer's name, another variant of the scene (`normkit/two-pass-paper`) or `copy`: then the ratio is the rate
            of necessary bytes over the copy's.
        variant: whose rows.
        mode: `fwd`, `bwd` or `fwd+bwd`.
        output: `reused` or `fresh`; None for either.
        parallel: with more than one thread; None for any number.
        case: of which inputs, as in `Scene`.
        where: of which shapes.
        out_of_cache: only where the working set is four times the last-level cache or more.
        dtype: of the inputs.
        latency: of the host's time for a call to a GPU, not of the device's.
    """

    ratio: float
    to: str = "torch"
    variant: str = "normkit"
    mode: str = "fwd"
    output: str | None = None
    parallel: bool | None = False
    case: str = "normal"
    where: Callable[[Shape], bool] = lambda shape: True
    out_of_cache: bool = False
    dtype: torch.dtype = torch.float32
    latency: bool = False

    def covers(self, scene: Scene, variant: str, cache: str, *, latency: bool = False) -> bool:
        """Whether a row of `variant` in this scene, with a working set of this cache class, must reach it."""
        return (
            (self.variant, self.mode, self.case, self.dtype) == (variant, scene.mode, scene.case, scene.dtype)
            and self.latency == latency
            and self.parallel in (None, scene.threads > 1)
            and self.output in (None, scene.output)
            and (cache == "out" or not self.out_of_cache)
            and self.where(scene.shape)
        )


def large(shape: Shape) -> bool:
    """Whether a call is long enough that its fixed cost does not count: 65,536 elements."""
    return prod(shape) >= 2**16


def trained(to: str = "torch") -> tuple[Bar, ...]:
    """What holds for every operation with autograd: no slower where large, at most 3 times as slow where tiny."""
    return (
        Bar(1.0, to=to, mode="fwd+bwd", parallel=None, where=large),
        Bar(1 / 3, to=to, mode="fwd+bwd", parallel=None, where=lambda shape: prod(shape) < 2**12),
    )


def never_slower(to: str = "torch") -> tuple[Bar, ...]:
    """What holds for every operation: at most 5 % slower at any size, and what holds with autograd."""
    return (Bar(1 / 1.05, to=to, parallel=None), *trained(to))


def quick_on_gpu(to: str = "torch") -> Bar:
    """What holds for every operation on a GPU: a small call (64 Ki elements) asks at most 1.1 times the host's time."""
    return Bar(1 / 1.1, to=to, mode="fwd", where=lambda shape: prod(shape) <= 2**16, latency=True)


def alone_on_gpu(to: str = "torch") -> tuple[Bar, ...]:
    """What holds on a GPU where nobody else has a fused kernel: near the copy's speed, and ahead of a compiler."""
    near_the_copy = Bar(0.8, to="copy", out_of_cache=True)
    return quick_on_gpu(to), near_the_copy, Bar(3.0, to=to, where=_huge), Bar(1.0, to="torch.compile", where=_huge)


def _huge(shape: Shape) -> bool:
    return prod(shape) >= 2**22


def bars_of(bars: Iterable[Bar], scene: Scene, variant: str, cache: str, *, latency: bool = False) -> dict[str, float]:
    """What a row must reach, by whom it is compared with; the highest of several."""
    found: dict[str, float] = {}
    for bar in bars:
        if bar.covers(scene, variant, cache, latency=latency):
            found[bar.to] = max(bar.ratio, found.get(bar.to, 0.0))
    return found
