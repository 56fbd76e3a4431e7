"""Batch-channel normalisation: by channel over the batch, then by channel group within each sample.

    y = w_g · GN( γ (x − μ)/sqrt(σ² + ε) + β ) + b_g

Source: Qiao et al. 2020, "Micro-Batch Training with Batch-Channel Normalization and Weight Standardization",
arXiv:1903.10520, section 4.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from normkit.kernels.arguments import check_eps, check_float, check_out
from normkit.kernels.channels import check_channels, check_groups, check_several
from normkit.kernels.dispatch import Op, Sample, dispatch, sample
from normkit.kernels.reference import batch_channel_norm as reference

__all__ = ["batch_channel_norm"]


def batch_channel_norm(
    input: Shaped[Tensor, "*shape"],
    running_mean: Float[Tensor, "..."],
    running_var: Float[Tensor, "..."],
    bn_weight: Float[Tensor, "..."],
    bn_bias: Float[Tensor, "..."],
    num_groups: int,
    weight: Float[Tensor, "..."],
    bias: Float[Tensor, "..."],
    training: bool = False,
    style: str = "estimate",
    speed: float | Float[Tensor, "..."] = 0.1,
    eps: float = 1e-5,
    *,
    kernel: str | None = None,
    out: Shaped[Tensor, "..."] | None = None,
) -> Float[Tensor, "*shape"]:
    """y = w_g · GN( γ (x − μ)/sqrt(σ² + ε) + β ) + b_g, GN over groups of channels of one sample.

    In training the running statistics are moved in place, by the share `speed` of this batch:

    - "estimate" (for micro-batches): first μ̂ ← (1−r) μ̂ + r·mean(x), σ̂² ← (1−r) σ̂² + r·mean((x − μ̂_old)²); then x is
      normalised by them, and they are constants to the gradient;
    - "batch": x is normalised by this batch's own mean and variance, through which the gradient passes; the running
      variance gets the unbiased one.

    In evaluation the running statistics are used and nothing moves. Statistics are in float32 or wider.

    Args:
        input: (batch, channels, *space), any float dtype.
        running_mean: μ̂, (channels,).
        running_var: σ̂², (channels,).
        bn_weight: γ, (channels,).
        bn_bias: β, (channels,).
        num_groups: G, divides the channels.
        weight: w, (1, G, 1).
        bias: b, (1, G, 1).
        training: whether the statistics move.
        style: "estimate" or "batch".
        speed: r in (0, 1], what is usually called momentum.
        eps: added to both variances.
        kernel: name of the kernel that must compute it; None leaves the choice to `normkit.kernels.dispatch`.
        out: receives y; same shape and dtype as `input`.

    Raises:
        TypeError: `input` is no float tensor.
        ValueError: `input` is not (batch, channels, *space), a parameter has the wrong shape, `num_groups` does not
            divide the channels (the message lists what does), a channel has a single value in training, `style` is
            unknown, `speed` is outside (0, 1] in training, `eps` < 0, or `out` does not fit.
        KernelError: the kernel named cannot do it.
    """
    name, channels = "batch_channel_norm", {"running_mean": running_mean, "running_var": running_var}
    check_float(name, input, weight=weight, bias=bias)
    check_channels(name, input, **channels, bn_weight=bn_weight, bn_bias=bn_bias)
    check_groups(name, input.shape[1], num_groups)
    check_eps(name, eps)
    if style not in ("estimate", "batch"):
        raise ValueError(f"{name}: style is 'estimate' or 'batch', not {style!r}")
    if training and not isinstance(speed, Tensor) and not (0 < speed <= 1 or (speed == 0 and style == "batch")):
        raise ValueError(f"{name}: speed must lie in (0, 1], so that the statistics follow the data; got {speed}")
    for label, parameter in {"weight": weight, "bias": bias}.items():
        if tuple(parameter.shape) != (1, num_groups, 1):
            raise ValueError(f"{name}: {label} must be (1, {num_groups}, 1), got the shape {tuple(parameter.shape)}")
    if training and style == "batch":
        check_several(name, input, "the batch's variance")
    if out is not None:
        check_out(name, out, input.shape, input.dtype, input, bn_weight, bn_bias, weight, bias)
    arguments = (input, running_mean, running_var, bn_weight, bn_bias, num_groups, weight, bias)
    return dispatch(BATCH_CHANNEL_NORM, *arguments, training, style, speed, eps, kernel=kernel, out=out)


def _samples() -> Iterator[Sample]:
    # None trains in the "estimate" style: its gradient takes the estimates for constants, which differences of values
    # do not.
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    for training, style in ((True, "batch"), (False, "batch"), (False, "estimate")):
        yield sample(
            normal(3, 4, 3, 2),
            normal(4),
            normal(4).exp(),
            normal(4),
            normal(4),
            2,
            normal(1, 2, 1),
            normal(1, 2, 1),
            training,
            style,
        )


BATCH_CHANNEL_NORM = Op(
    "batch_channel_norm",
    reference=reference.batch_channel_norm,
    kernels=("native:channel_norms.batch_channel_norm", "torch:batch_channel_norm.batch_channel_norm"),
    samples=_samples,
)
