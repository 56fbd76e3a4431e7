"""What unified normalisation does with its statistics: windows, averages, and the test for outliers.

All of it is about the channels alone; what touches x stands in `unified_norm` beside this. On an accelerator and in
traced code every choice is a select: to read the step's number would stop the queue at every layer. On the CPU reading
it costs nothing, and most of the operations are not needed in most of the steps.

Yang et al. 2022 (arXiv:2208.01313), section 3; the steps are those of the authors' code.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from normkit.kernels.dispatch import exporting, tracing

__all__ = ["Step", "advance", "smoothed_gradient"]

SETTLED = 1000
"""The first so many steps are not compensated for the distance between the batch's and the running statistic."""
LARGEST_RATIO = 5.0

Channels = Float[Tensor, " channels"]


class Step(NamedTuple):
    """What the statistics of one training step give to its forward and backward pass.

    Attributes:
        rstd: 1/sqrt(σ² + ε) of each channel, by which the step normalises.
        ratio: r, sqrt(σ² + ε) over that of the running statistic, within 1/5 … 5; 1 in the first steps.
        number: k, counted from 1.
        skip: whether the batch was an outlier, or there is no window to smooth over.
    """

    rstd: Channels
    ratio: Channels
    number: Int[Tensor, ""]
    skip: Bool[Tensor, ""]


def advance(
    square: Channels,
    running_var: Channels,
    buffer_x2: Float[Tensor, "window channels"],
    iters: Int[Tensor, ""],
    skip_counter: Int[Tensor, ""],
    momentum: float,
    warmup_iters: int,
    outlier_filtration: bool,
    eps: float,
) -> Step:
    """Take a batch's mean square into the window, move the state in place, and say by what this step normalises."""
    arguments = (square.to(running_var.dtype), running_var, buffer_x2, iters, skip_counter)
    if _readable(iters):
        return _advance_by_choice(*arguments, momentum, warmup_iters, outlier_filtration, eps)
    return Step(*_traceable("unified_norm_advance")(*arguments, momentum, warmup_iters, outlier_filtration, eps))


def smoothed_gradient(
    along: Channels,
    step: Step,
    ema_gz: Channels,
    buffer_gz: Float[Tensor, "window channels"],
    momentum: float,
    warmup_iters: int,
) -> Channels:
    """Take q = mean(γ r ∂y z) into its window and average in place; what stands for it in the gradient."""
    arguments = (along.to(ema_gz.dtype), step.number, step.skip, ema_gz, buffer_gz)
    if _readable(step.number) and bool(along.isfinite().all()):
        return _smoothed_gradient_by_choice(*arguments, momentum, warmup_iters)
    return _traceable("unified_norm_gradient")(*arguments, momentum, warmup_iters)


def _advance(
    square: Tensor,
    running_var: Tensor,
    buffer_x2: Tensor,
    iters: Tensor,
    skip_counter: Tensor,
    momentum: float,
    warmup_iters: int,
    outlier_filtration: bool,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    window = len(buffer_x2)
    number = iters + 1
    own_row = _row(number, window)
    rows = torch.where(own_row, square, buffer_x2)
    skip = torch.full_like(number, window <= 1, dtype=torch.bool)
    if outlier_filtration and window > 1:
        spread = buffer_x2.sqrt().var()  # of all rows and channels, before this batch
        beyond = rows.mean(0) - _geometric_mean(rows) > window * spread
        skip = beyond.any() & (number >= warmup_iters) & (number > window)  # rows not yet written are no statistics
        rows = torch.where(skip & own_row, running_var, rows)
        skip_counter.add_(skip)
    alone = skip | (number <= window) | (number < warmup_iters)
    variance = torch.where(alone, square, _geometric_mean(rows))
    ratio = ((variance + eps) / (running_var + eps)).sqrt().clamp(1 / LARGEST_RATIO, LARGEST_RATIO)
    ratio = torch.where(skip | (number <= max(SETTLED, warmup_iters)), 1.0, ratio)
    running_var.mul_(momentum).add_(variance, alpha=1 - momentum)
    buffer_x2.copy_(rows)
    iters.copy_(number)
    return (variance + eps).rsqrt(), ratio, number, skip


def _smoothed_gradient(
    q: Tensor,
    number: Tensor,
    skip: Tensor,
    ema_gz: Tensor,
    buffer_gz: Tensor,
    momentum: float,
    warmup_iters: int,
) -> Tensor:
    """A q that is not finite (an overflow under a gradient scaler, which then leaves the step out) moves nothing.

    It is in the gradient of x already, and would stay in the average for good.
    """
    window = len(buffer_gz)
    finite = q.isfinite()
    rows = torch.where(_row(number, window), torch.where(skip | ~finite, ema_gz, q), buffer_gz)
    alone = skip | (number <= window) | (number < warmup_iters)
    mean = torch.where(alone, q, rows.mean(0))
    moved = torch.where(finite, momentum * ema_gz + (1 - momentum) * mean, ema_gz)
    ema_gz.copy_(moved)
    buffer_gz.copy_(rows)
    return torch.where(skip, mean, moved)


# --- the same where the step's number can be read ---


def _readable(number: Tensor) -> bool:
    return not tracing() and number.is_cpu


def _advance_by_choice(
    square: Tensor,
    running_var: Tensor,
    buffer_x2: Tensor,
    iters: Tensor,
    skip_counter: Tensor,
    momentum: float,
    warmup_iters: int,
    outlier_filtration: bool,
    eps: float,
) -> Step:
    step, window = int(iters) + 1, len(buffer_x2)
    spread = buffer_x2.sqrt().var() if outlier_filtration and step >= warmup_iters and step > window > 1 else None
    buffer_x2[step % window] = square
    smooth, skip = step > window > 1 and step >= warmup_iters, window <= 1
    variance = _geometric_mean(buffer_x2) if smooth else square
    if spread is not None and bool((buffer_x2.mean(0) - variance > window * spread).any()):
        buffer_x2[step % window] = running_var
        skip_counter.add_(1)
        skip, variance = True, square
    ratio = torch.ones_like(running_var)
    if not skip and step > max(SETTLED, warmup_iters):
        ratio = ((variance + eps) / (running_var + eps)).sqrt().clamp(1 / LARGEST_RATIO, LARGEST_RATIO)
    running_var.mul_(momentum).add_(variance, alpha=1 - momentum)
    iters.fill_(step)
    return Step((variance + eps).rsqrt(), ratio, iters.clone(), torch.tensor(skip))


def _smoothed_gradient_by_choice(
    q: Tensor, number: Tensor, skip: Tensor, ema_gz: Tensor, buffer_gz: Tensor, momentum: float, warmup_iters: int
) -> Tensor:
    """For a q that is finite."""
    step, window, skipped = int(number), len(buffer_gz), bool(skip)
    buffer_gz[step % window] = ema_gz if skipped else q
    mean = q if skipped or step <= window or step < warmup_iters else buffer_gz.mean(0)
    ema_gz.mul_(momentum).add_(mean, alpha=1 - momentum)
    return mean if skipped else ema_gz.clone()


def _row(number: Tensor, window: int) -> Tensor:
    """Which row of the window the step writes to, (window, 1)."""
    return (torch.arange(window, device=number.device) == number % window).unsqueeze(1)


def _geometric_mean(rows: Tensor) -> Tensor:
    """Of every channel over the rows; a row of exact zeros counts as the smallest normal number, not as log 0."""
    return rows.clamp_min(torch.finfo(rows.dtype).tiny).log().mean(0).exp()


# --- for torch.compile ---
# Its partitioner recomputes cheap operations of the forward pass in the backward pass, also from a state that the
# forward pass has moved since: the step's number would be read one too late. The results of an operator of our own are
# kept instead. An exported network must run without normkit, and takes the operations as they are.
_LIBRARY = torch.library.Library("normkit", "FRAGMENT")  # the operators vanish with it
_OPERATORS: dict[str, tuple[str, Callable[..., Any]]] = {
    "unified_norm_advance": (
        "(Tensor square, Tensor(a!) running_var, Tensor(b!) buffer_x2, Tensor(c!) iters, Tensor(d!) skip_counter, "
        "float momentum, int warmup_iters, bool outlier_filtration, float eps) -> (Tensor, Tensor, Tensor, Tensor)",
        _advance,
    ),
    "unified_norm_gradient": (
        "(Tensor q, Tensor number, Tensor skip, Tensor(a!) ema_gz, Tensor(b!) buffer_gz, float momentum, "
        "int warmup_iters) -> Tensor",
        _smoothed_gradient,
    ),
}


def _traceable(name: str) -> Callable[..., Any]:
    if torch.compiler.is_compiling() and not exporting():
        return getattr(torch.ops.normkit, name)
    return _OPERATORS[name][1]


def _advance_shapes(square: Tensor, running_var: Tensor, buffer_x2: Tensor, iters: Tensor, *_: Any) -> Any:
    found = torch.empty_like(running_var), torch.empty_like(running_var), torch.empty_like(iters)
    return *found, torch.empty_like(iters, dtype=torch.bool)


def _gradient_shape(q: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(q)


for _name, (_schema, _function) in _OPERATORS.items():
    _LIBRARY.define(_name + _schema, tags=(torch.Tag.pt2_compliant_tag,))
    _LIBRARY.impl(_name, _function, "CompositeExplicitAutograd")
torch.library.register_fake("normkit::unified_norm_advance", _advance_shapes, lib=_LIBRARY)
torch.library.register_fake("normkit::unified_norm_gradient", _gradient_shape, lib=_LIBRARY)
