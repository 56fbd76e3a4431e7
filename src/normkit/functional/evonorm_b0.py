"""EvoNorm-B0: normalisation and activation in one expression, with the batch's variance.

    y = x / max( sqrt(s²_batch + ε), v x + sqrt(s²_instance + ε) ) · γ + β

Source: Liu et al. 2020, "Evolving Normalization-Activation Layers", arXiv:2004.02967, table 3.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from normkit.kernels.arguments import check_eps, check_out
from normkit.kernels.channels import check_channels, check_several
from normkit.kernels.dispatch import Op, Sample, dispatch, sample
from normkit.kernels.reference import evonorm as reference

__all__ = ["evonorm_b0"]


def evonorm_b0(
    input: Shaped[Tensor, "*shape"],
    weight: Float[Tensor, "..."],
    bias: Float[Tensor, "..."],
    v: Float[Tensor, "..."] | None,
    running_var: Float[Tensor, "..."],
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-3,
    *,
    kernel: str | None = None,
    out: Shaped[Tensor, "..."] | None = None,
) -> Float[Tensor, "*shape"]:
    """y = x / max( sqrt(s²_batch + ε), v x + sqrt(s²_instance + ε) ) · γ + β; no activation follows.

    Variances are population variances in float32 or wider: s²_instance of each sample and channel, s²_batch of each
    channel over batch and space. In training the gradient passes through both, and `running_var` is moved in place,
    running ← (1 − momentum)·running + momentum·s²_batch·n/(n − 1); in evaluation it stands for s²_batch.

    Args:
        input: (batch, channels, *space), any float dtype.
        weight: γ, (channels,).
        bias: β, (channels,).
        v: slope in the denominator, (channels,); None leaves the normalisation out: y = γ x + β.
        running_var: moving average of the unbiased batch variance, (channels,).
        training: whether s²_batch is taken from this batch.
        momentum: weight of this batch in the moving average.
        eps: added to the variances; 1e-3 keeps the denominator away from 0 in half precision.
        kernel: name of the kernel that must compute it; None leaves the choice to `normkit.kernels.dispatch`.
        out: receives y; same shape and dtype as `input`.

    Raises:
        TypeError: `input` is no float tensor.
        ValueError: `input` is not (batch, channels, *space), a parameter is not (channels,), a channel has a single
            value in training, `eps` < 0, or `out` does not fit.
        KernelError: the kernel named cannot do it.
    """
    check_channels("evonorm_b0", input, weight=weight, bias=bias, v=v, running_var=running_var)
    check_eps("evonorm_b0", eps)
    if training and v is not None:
        check_several("evonorm_b0", input, "the batch's variance")
    if out is not None:
        check_out("evonorm_b0", out, input.shape, input.dtype, input, weight, bias, v)
    arguments = (input, weight, bias, v, running_var, training, momentum, eps)
    return dispatch(EVONORM_B0, *arguments, kernel=kernel, out=out)


def _samples() -> Iterator[Sample]:
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    yield sample(normal(3, 4, 3, 3), normal(4), normal(4), normal(4), torch.ones(4, dtype=torch.float64), True)
    yield sample(normal(2, 3, 5), normal(3), normal(3), normal(3), normal(3).exp(), False, eps=1e-2)
    yield sample(normal(2, 3, 2, 2), normal(3), normal(3), None, torch.ones(3, dtype=torch.float64), True)


EVONORM_B0 = Op(
    "evonorm_b0",
    reference=reference.evonorm_b0,
    kernels=("native:channel_norms.evonorm_b0", "torch:evonorm.evonorm_b0"),
    samples=_samples,
)
