"""Unified normalisation: each channel by its quadratic mean over the batch, smoothed over the last steps.

    y = γ x / sqrt(σ² + ε) + β

Source: Yang et al. 2022, "Unified Normalization for Accelerating and Stabilizing Transformers", arXiv:2208.01313,
section 3.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from normkit.kernels.arguments import check_counter, check_eps, check_float, check_out
from normkit.kernels.dispatch import Op, Sample, dispatch, sample
from normkit.kernels.padding import check_pad_mask
from normkit.kernels.reference import unified_norm as reference
from normkit.kernels.reference.means import Reduce

__all__ = ["unified_norm"]


def unified_norm(
    input: Shaped[Tensor, "*shape"],
    weight: Float[Tensor, "..."],
    bias: Float[Tensor, "..."],
    running_var: Float[Tensor, "..."],
    ema_gz: Float[Tensor, "..."] | None = None,
    buffer_x2: Float[Tensor, "..."] | None = None,
    buffer_gz: Float[Tensor, "..."] | None = None,
    iters: Int[Tensor, ""] | None = None,
    skip_counter: Int[Tensor, ""] | None = None,
    pad_mask: Shaped[Tensor, "..."] | None = None,
    training: bool = False,
    momentum: float = 0.9,
    warmup_iters: int = 4000,
    outlier_filtration: bool = False,
    eps: float = 1e-5,
    reduce: Reduce | None = None,
    *,
    kernel: str | None = None,
    out: Shaped[Tensor, "..."] | None = None,
) -> Float[Tensor, "*shape"]:
    """y = γ x / sqrt(σ² + ε) + β; nothing is centred.

    In evaluation σ² is `running_var`, so y is a scale and a shift of each channel. In training step k, with s the
    batch's mean of x² (float32 or wider) and X the last M of them, σ² is the geometric mean of X's rows; it is s itself
    while k ≤ M or k < `warmup_iters`, and where the batch is skipped. With `outlier_filtration` a batch is skipped
    where, from then on, the arithmetic mean of X exceeds the geometric one by more than M·Var(√X) in any channel: its
    row then becomes `running_var`, so that the outlier does not stay in the window. The state moves in place, once per
    call and once per backward pass: running_var ← m·running_var + (1 − m) σ², by the outlier too, as the authors do.

    The gradient is the authors' approximation, no derivative of y: with z = x/sqrt(σ² + ε), r the ratio of this
    denominator to the running one (1 in the first max(1000, `warmup_iters`) steps) and q = mean(γ r ∂y z),
    ∂x = (γ r ∂y − e z)/sqrt(σ² + ε), where e is the moving average of the arithmetic mean of the last q;
    ∂γ = Σ ∂y r z, ∂β = Σ ∂y. With M = 1 it is the exact derivative with respect to the batch's own statistic.

    Args:
        input: (*batch, channels), any float dtype.
        weight: γ, (channels,).
        bias: β, (channels,).
        running_var: moving average of σ², (channels,).
        ema_gz: e, (channels,). This and the four that follow are needed in training.
        buffer_x2: X, (M, channels).
        buffer_gz: the last q, (M_backward, channels).
        iters: k, a whole number without axes.
        skip_counter: number of batches skipped so far, likewise.
        pad_mask: (*batch), True where a position is padding, which then does not count in s.
        training: whether σ² is taken from this batch and its predecessors.
        momentum: m, the weight of the *old* value in both moving averages (torch.nn.BatchNorm's is the new one's).
        warmup_iters: steps without smoothing.
        outlier_filtration: whether outliers among the batches are skipped.
        eps: ε, added to σ².
        reduce: adds a tensor up over the ranks whose batches are one; None for this process alone.
        kernel: name of the kernel that must compute it; None leaves the choice to `normkit.kernels.dispatch`.
        out: receives y in evaluation; same shape and dtype as `input`.

    Raises:
        TypeError: `input` is no float tensor, or `pad_mask` not boolean.
        ValueError: the channels of the arguments do not fit each other, `pad_mask` has another shape than (*batch) or
            leaves no position, state is missing in training, `eps` < 0, `momentum` outside (0, 1), or `out` does not
            fit.
        RuntimeError: `pad_mask` leaves no position, on an accelerator or in a compiled network.
        KernelError: the kernel named cannot do it.
    """
    state = {"ema_gz": ema_gz, "buffer_x2": buffer_x2, "buffer_gz": buffer_gz}
    counters = {"iters": iters, "skip_counter": skip_counter}
    check_float("unified_norm", input, weight=weight, bias=bias, running_var=running_var, **state)
    _check_channels(input, {"weight": weight, "bias": bias, "running_var": running_var, **state})
    check_eps("unified_norm", eps)
    check_momentum("unified_norm", momentum)
    if training and (missing := [name for name, value in {**state, **counters}.items() if value is None]):
        raise ValueError(f"unified_norm: training moves a state, of which this is missing: {', '.join(missing)}")
    for label, counter in counters.items():
        if counter is not None:
            check_counter("unified_norm", label, counter)
    for label, window in {"buffer_x2": buffer_x2, "buffer_gz": buffer_gz}.items():
        if window is not None and not len(window):
            raise ValueError(f"unified_norm: {label} is a window of no steps; it needs a row for one or more")
    if pad_mask is not None:
        check_pad_mask("unified_norm", input, pad_mask, read=training and reduce is None)
    if out is not None:
        check_out("unified_norm", out, input.shape, input.dtype, input, weight, bias)
    parameters = (weight, bias, running_var, ema_gz, buffer_x2, buffer_gz, iters, skip_counter, pad_mask)
    options = (training, momentum, warmup_iters, outlier_filtration, eps, reduce)
    return dispatch(UNIFIED_NORM, input, *parameters, *options, kernel=kernel, out=out)


def check_momentum(op: str, momentum: float) -> None:
    """Raise ValueError unless `momentum` lies between 0 and 1."""
    if not 0 < momentum < 1:
        raise ValueError(f"{op}: momentum must lie between 0 and 1 (it is the weight of the old value), got {momentum}")


def _check_channels(input: Tensor, channelwise: dict[str, Tensor | None]) -> None:
    channels = input.shape[-1] if input.ndim else None
    for name, value in channelwise.items():
        if value is not None and (value.shape[-1:] != (channels,) or value.ndim != 1 + name.startswith("buffer")):
            raise ValueError(
                f"unified_norm: {name} must hold one value for each of the {channels} channels of the input's last "
                f"axis, got the shape {tuple(value.shape)} for an input of shape {tuple(input.shape)}"
            )


def _samples() -> Iterator[Sample]:
    # None in training: its gradient is an approximation by design, which differences of values do not confirm.
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    yield sample(normal(3, 2, 4), normal(4), normal(4), normal(4).exp())
    yield sample(normal(5, 3), normal(3), normal(3), normal(3).exp(), momentum=0.5, eps=1e-3)


UNIFIED_NORM = Op(
    "unified_norm",
    reference=reference.unified_norm,
    kernels=("native:unified_norm.unified_norm", "triton.unified_norm.unified_norm"),
    samples=_samples,
)
