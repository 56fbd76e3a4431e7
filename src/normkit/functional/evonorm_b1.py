"""EvoNorm-B1: normalisation and activation in one expression, with the batch's variance.

    y = x / max( sqrt(s²_batch + ε), (x + 1)·sqrt(μ_instance(x²) + ε) ) · γ + β

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

__all__ = ["evonorm_b1"]


def evonorm_b1(
    input: Shaped[Tensor, "*shape"],
    weight: Float[Tensor, "..."],
    bias: Float[Tensor, "..."],
    running_var: Float[Tensor, "..."],
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    kernel: str | None = None,
    out: Shaped[Tensor, "..."] | None = None,
) -> Float[Tensor, "*shape"]:
    """y = x / max( sqrt(s²_batch + ε), (x + 1)·sqrt(μ_instance(x²) + ε) ) · γ + β; no activation follows.

    Statistics are in float32 or wider: the mean square of each sample and channel, and s²_batch, the population
    variance of each channel over batch and space. In training the gradient passes through both, and `running_var` is
    moved in place, running ← (1 − momentum)·running + momentum·s²_batch·n/(n − 1); evaluation takes it for s²_batch.

    Args:
        input: (batch, channels, *space), any float dtype.
        weight: γ, (channels,).
        bias: β, (channels,).
        running_var: moving average of the unbiased batch variance, (channels,).
        training: whether s²_batch is taken from this batch.
        momentum: weight of this batch in the moving average.
        eps: added to the variance and to the mean square.
        kernel: name of the kernel that must compute it; None leaves the choice to `normkit.kernels.dispatch`.
        out: receives y; same shape and dtype as `input`.

    Raises:
        TypeError: `input` is no float tensor.
        ValueError: `input` is not (batch, channels, *space), a parameter is not (channels,), a channel has a single
            value in training, `eps` < 0, or `out` does not fit.
        KernelError: the kernel named cannot do it.
    """
    check_channels("evonorm_b1", input, weight=weight, bias=bias, running_var=running_var)
    check_eps("evonorm_b1", eps)
    if training:
        check_several("evonorm_b1", input, "the batch's variance")
    if out is not None:
        check_out("evonorm_b1", out, input.shape, input.dtype, input, weight, bias)
    return dispatch(EVONORM_B1, input, weight, bias, running_var, training, momentum, eps, kernel=kernel, out=out)


def _samples() -> Iterator[Sample]:
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    yield sample(normal(3, 4, 3, 2), normal(4), normal(4), torch.ones(4, dtype=torch.float64), True)
    yield sample(normal(2, 3, 5), normal(3), normal(3), normal(3).exp(), False, eps=1e-2)


EVONORM_B1 = Op("evonorm_b1", reference=reference.evonorm_b1, kernels=("torch:evonorm.evonorm_b1",), samples=_samples)
