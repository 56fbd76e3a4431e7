"""Weight standardisation: each output filter to mean 0 and standard deviation 1.

    Ŵ_o = (W_o − mean W_o) / σ_o

Source: Qiao et al. 2020, "Micro-Batch Training with Batch-Channel Normalization and Weight Standardization",
arXiv:1903.10520, section 3.1.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from normkit.kernels.arguments import check_eps, check_float, check_out
from normkit.kernels.dispatch import Op, Sample, dispatch, sample
from normkit.kernels.reference import weight_standardization as reference

__all__ = ["weight_standardize"]


def weight_standardize(
    weight: Shaped[Tensor, "*shape"],
    variant: str = "official",
    eps: float | None = None,
    *,
    kernel: str | None = None,
    out: Shaped[Tensor, "..."] | None = None,
) -> Float[Tensor, "*shape"]:
    """Ŵ_o = (W_o − mean W_o) / σ_o over the n entries of each filter W_o.

    Three denominators are in use, and checkpoints depend on them:

    - "official": σ = sqrt(Σ(W−mean)²/(n−1)) + ε, ε = 1e-5 (the authors' published layer);
    - "bcn": σ = sqrt(Σ(W−mean)²/(n−1) + ε), ε = 1e-5 (their ImageNet code for batch-channel normalisation);
    - "timm": σ = sqrt(Σ(W−mean)²/n + ε), ε = 1e-6 (timm's `StdConv2d`).

    The statistics are float32 or wider. A filter whose entries are all equal gives 0, and a finite gradient.

    Args:
        weight: (filters, …), two axes or more; the axes after the first are one filter.
        variant: "official", "bcn" or "timm".
        eps: ε; None is the variant's own.
        kernel: name of the kernel that must compute it; None leaves the choice to `normkit.kernels.dispatch`.
        out: receives Ŵ; same shape and dtype as `weight`.

    Raises:
        TypeError: `weight` is no float tensor.
        ValueError: `weight` has one axis, its filters have a single entry (which would become 0), `variant` is
            unknown, `eps` < 0, or `out` does not fit.
        KernelError: the kernel named cannot do it.
    """
    check_float("weight_standardize", weight)
    check_eps("weight_standardize", eps)
    if variant not in reference.DEFAULT_EPS:
        raise ValueError(f"weight_standardize: variant is 'official', 'bcn' or 'timm', not {variant!r}")
    if weight.ndim < 2:
        raise ValueError(f"weight_standardize: weight must be (filters, ...), got the shape {tuple(weight.shape)}")
    if weight[0:1].numel() == 1:
        raise ValueError(
            f"weight_standardize: the filters of a weight of shape {tuple(weight.shape)} have one entry, which would "
            "become 0 and kill the layer; leave such a layer (1×1 depthwise, for one) as it is"
        )
    if out is not None:
        check_out("weight_standardize", out, weight.shape, weight.dtype, weight)
    return dispatch(WEIGHT_STANDARDIZE, weight, variant, eps, kernel=kernel, out=out)


def _samples() -> Iterator[Sample]:
    draw = torch.Generator().manual_seed(0)
    for variant in reference.DEFAULT_EPS:
        yield sample(torch.randn(4, 3, 2, 2, generator=draw, dtype=torch.float64), variant)
    yield sample(torch.randn(3, 5, generator=draw, dtype=torch.float64), "timm", 1e-3)


WEIGHT_STANDARDIZE = Op(
    "weight_standardize",
    reference=reference.weight_standardize,
    kernels=("native:channel_norms.weight_standardize", "torch:weight_standardization.weight_standardize"),
    samples=_samples,
)
