"""Learning-rate schedules as plain functions `(step, total) -> factor` of the optimiser's own rate."""

import math
from collections.abc import Callable, Sequence

__all__ = ["Schedule", "step_decay", "warmup_constant", "warmup_cosine"]

Schedule = Callable[[int, int], float]
"""`schedule(step, total)` with step = 0 … total − 1 gives the factor on every group's learning rate."""


def warmup_cosine(warmup: float = 0.05) -> Schedule:
    """Linear rise over the first `warmup` share of the steps, then half a cosine down to zero.

    With w = ⌈warmup·total⌉: factor = (t+1)/w for t < w, else ½(1 + cos(π (t−w)/(total−w))).
    Source of the cosine: Loshchilov and Hutter (2017), SGDR, arXiv:1608.03983, without restarts.

    Raises:
        ValueError: `warmup` is not in [0, 1).
    """
    if not 0 <= warmup < 1:
        raise ValueError(f"warmup is {warmup}: it is the share of steps that warm up, from 0 up to but not including 1")

    def factor(step: int, total: int) -> float:
        rise = math.ceil(warmup * total)
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))

    return factor


def warmup_constant(steps: int) -> Schedule:
    """Linear rise over the first `steps` steps, then the full rate: factor = min(1, (t+1)/steps); 1 for `steps` = 0.

    Raises:
        ValueError: `steps` is negative.
    """
    if steps < 0:
        raise ValueError(f"steps is {steps}: it is the number of steps that warm up, 0 or more")
    return lambda step, total: min(1.0, (step + 1) / max(1, steps))


def step_decay(milestones: Sequence[float] = (0.5, 0.75), factor: float = 0.1, warmup: float = 0.0) -> Schedule:
    """The rate times `factor` at each milestone, a share of the steps; a linear rise over the first `warmup` share.

    The defaults are the recipe of residual nets on CIFAR: He et al. (2016), arXiv:1512.03385, section 4.2, whose drops
    come after half and three quarters of the training. Very deep nets may diverge without a warm-up.

    Raises:
        ValueError: a milestone is not in (0, 1), `factor` is not positive, or `warmup` is not in [0, 1).
    """
    if not all(0 < milestone < 1 for milestone in milestones):
        raise ValueError(f"milestones is {list(milestones)}: each is a share of the steps between 0 and 1")
    if factor <= 0:
        raise ValueError(f"factor is {factor}: it must be positive")
    if not 0 <= warmup < 1:
        raise ValueError(f"warmup is {warmup}: it is the share of steps that warm up, from 0 up to but not including 1")

    def rate(step: int, total: int) -> float:
        rise = math.ceil(warmup * total)
        if step < rise:
            return (step + 1) / rise
        return math.prod((factor for milestone in milestones if step >= milestone * total), start=1.0)

    return rate
