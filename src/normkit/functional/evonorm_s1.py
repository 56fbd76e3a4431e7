"""EvoNorm-S1: normalisation and activation in one expression, of each sample by itself.

    y = x·σ(x) / sqrt(s² + ε) · γ + β,   s² = population variance of the sample's group of C/G channels

Source: Liu et al. 2020, "Evolving Normalization-Activation Layers", arXiv:2004.02967, table 3.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from normkit.kernels.arguments import check_eps, check_out
from normkit.kernels.channels import check_channels, check_groups
from normkit.kernels.dispatch import Op, Sample, dispatch, sample
from normkit.kernels.reference import evonorm as reference

__all__ = ["evonorm_s1"]


def evonorm_s1(
    input: Shaped[Tensor, "*shape"],
    weight: Float[Tensor, "..."],
    bias: Float[Tensor, "..."],
    groups: int = 32,
    eps: float = 1e-5,
    *,
    kernel: str | None = None,
    out: Shaped[Tensor, "..."] | None = None,
) -> Float[Tensor, "*shape"]:
    """y = x·σ(x) / sqrt(s² + ε) · γ + β; nothing is centred and no activation follows.

    The statistics and the division are computed in float32 or wider, the result has the input's dtype.

    Args:
        input: (batch, channels, *space), any float dtype.
        weight: γ, (channels,).
        bias: β, (channels,).
        groups: G, divides the channels.
        eps: added to the variance.
        kernel: name of the kernel that must compute it; None leaves the choice to `normkit.kernels.dispatch`.
        out: receives y; same shape and dtype as `input`.

    Raises:
        TypeError: `input` is no float tensor.
        ValueError: `input` is not (batch, channels, *space), a parameter is not (channels,), `groups` does not divide
            the channels (the message lists what does), `eps` < 0, or `out` does not fit.
        KernelError: the kernel named cannot do it.
    """
    check_channels("evonorm_s1", input, weight=weight, bias=bias)
    check_groups("evonorm_s1", input.shape[1], groups)
    check_eps("evonorm_s1", eps)
    if out is not None:
        check_out("evonorm_s1", out, input.shape, input.dtype, input, weight, bias)
    return dispatch(EVONORM_S1, input, weight, bias, groups, eps, kernel=kernel, out=out)


def _samples() -> Iterator[Sample]:
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    yield sample(normal(2, 4, 3, 2), normal(4), normal(4), 2)
    yield sample(normal(2, 6, 4), normal(6), normal(6), 3, 1e-3)


EVONORM_S1 = Op("evonorm_s1", reference=reference.evonorm_s1, kernels=("torch:evonorm.evonorm_s1",), samples=_samples)
