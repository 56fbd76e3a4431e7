"""Region normalisation: the pixels of each region are normalised by their own mean and variance.

    y = (x − μ_k)/sqrt(v_k + ε) · γ_k + β_k   for every pixel of region k

Source: Yu et al. 2020, "Region Normalization for Image Inpainting", arXiv:1911.10375, section 3.1.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from normkit.kernels.arguments import check_eps, check_float, check_out
from normkit.kernels.channels import check_channels
from normkit.kernels.dispatch import Op, Sample, dispatch, sample, tracing
from normkit.kernels.reference import region_norm as reference

__all__ = ["region_norm"]


def region_norm(
    input: Shaped[Tensor, "*shape"],
    label: Shaped[Tensor, "..."],
    num_regions: int | None = None,
    weight: Float[Tensor, "..."] | None = None,
    bias: Float[Tensor, "..."] | None = None,
    style: str = "instance",
    eps: float = 1e-5,
    eps_mode: str = "plain",
    *,
    kernel: str | None = None,
    out: Shaped[Tensor, "..."] | None = None,
) -> Float[Tensor, "*shape"]:
    """y = Σ_k R_k [ (x − μ_k)/sqrt(v_k + ε) · γ_k + β_k ] with R_k = 1 on the pixels of region k and 0 elsewhere.

    μ_k = Σ R_k x / S_k and v_k = Σ R_k (x − μ_k)² / S_k with S_k = Σ R_k, by channel, in float32 or wider. A region
    without a pixel contributes nothing. There are no running statistics.

    Args:
        input: (batch, channels, *space), any float dtype.
        label: number of the region of each pixel, integer or bool, (batch, *space) or (batch, 1, *space).
        num_regions: K; the labels are then 0 … K − 1. None takes it from `weight` or `bias`, is 2 for a bool label,
            and otherwise gives each different label a region of its own, whatever its number (which reads the label:
            what is traced or compiled must give K).
        weight: γ, (K, channels); None is 1.
        bias: β, (K, channels); None is 0.
        style: "instance": sums over the pixels of each sample (the paper); "batch": over those of the whole batch (the
            authors' code), so that an image's result depends on the others in its batch, in evaluation too.
        eps: ε, added to the variance.
        eps_mode: "plain"; or "official" for ε·N/S_k, N all pixels over which the sums run, as the authors' code has it.
        kernel: name of the kernel that must compute it; None leaves the choice to `normkit.kernels.dispatch`.
        out: receives y; same shape and dtype as `input`.

    Raises:
        TypeError: `input` is no float tensor, or `label` neither integer nor bool (says how to threshold).
        ValueError: `input` is not (batch, channels, *space), `label` has another size, a label lies outside of
            0 … K − 1, a parameter is not (K, channels), `style` or `eps_mode` is unknown, `eps` < 0, or `out` does not
            fit.
        KernelError: the kernel named cannot do it.
    """
    check_float("region_norm", input, label=label, weight=weight, bias=bias)
    check_channels("region_norm", input)
    check_eps("region_norm", eps)
    _check_choices(style, eps_mode)
    label = _checked_label(input, label)
    known = num_regions if num_regions is not None else _rows(weight, bias)
    if known is None:
        label, known = _compact(label)
    else:
        _check_range(label, known)
    _check_parameters(known, input.shape[1], weight, bias)
    if out is not None:
        check_out("region_norm", out, input.shape, input.dtype, input, weight, bias)
    arguments = (input, label, known, weight, bias, style, eps, eps_mode)
    return dispatch(REGION_NORM, *arguments, kernel=kernel, out=out)


def _check_choices(style: str, eps_mode: str) -> None:
    if style not in ("instance", "batch"):
        raise ValueError(f"region_norm: style is 'instance' or 'batch', not {style!r}")
    if eps_mode not in ("plain", "official"):
        raise ValueError(f"region_norm: eps_mode is 'plain' or 'official', not {eps_mode!r}")


def _checked_label(input: Tensor, label: Tensor) -> Tensor:
    """The label as (batch, 1, *space)."""
    if label.is_floating_point() or label.is_complex():
        raise TypeError(
            f"region_norm: label must be integer or bool, got {label.dtype}; threshold a mask first, e.g. mask > 0.5"
        )
    batch, _, *space = input.shape
    if tuple(label.shape) == (batch, *space):
        return label.unsqueeze(1)
    if tuple(label.shape) != (batch, 1, *space):
        raise ValueError(
            f"region_norm: label must have the shape {(batch, 1, *space)} or {(batch, *space)} for an input of shape "
            f"{tuple(input.shape)}, got {tuple(label.shape)}"
        )
    return label


def _rows(weight: Tensor | None, bias: Tensor | None) -> int | None:
    parameter = weight if weight is not None else bias
    return None if parameter is None or parameter.ndim == 0 else parameter.shape[0]


def _compact(label: Tensor) -> tuple[Tensor, int]:
    """The label with its different values numbered from 0, and how many there are."""
    if label.dtype == torch.bool:
        return label, 2
    if tracing() or label.is_meta:
        raise ValueError(
            "region_norm: what is compiled, exported, transformed or has no memory cannot count the regions: pass "
            "num_regions="
        )
    values, compact = torch.unique(label, return_inverse=True)
    return compact, len(values)


def _check_range(label: Tensor, num_regions: int) -> None:
    if num_regions < 1:
        raise ValueError(f"region_norm: num_regions must be at least 1, got {num_regions}")
    if label.dtype == torch.bool and num_regions == 2:
        return
    if tracing() or label.is_meta or label.numel() == 0:
        return
    low, high = (int(value) for value in torch.aminmax(label))
    if low < 0 or high >= num_regions:
        raise ValueError(
            f"region_norm: labels of {num_regions} regions lie in 0 … {num_regions - 1}, got {low} … {high}; give the "
            "number of regions, or leave num_regions out to count them"
        )


def _check_parameters(num_regions: int, channels: int, weight: Tensor | None, bias: Tensor | None) -> None:
    for name, parameter in (("weight", weight), ("bias", bias)):
        if parameter is not None and tuple(parameter.shape) != (num_regions, channels):
            raise ValueError(
                f"region_norm: {name} must be (regions, channels) = {(num_regions, channels)}, got the shape "
                f"{tuple(parameter.shape)}"
            )


def _samples() -> Iterator[Sample]:
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    def labels(high: int, *shape: int) -> Tensor:
        return torch.randint(high, shape, generator=draw)

    yield sample(normal(3, 4, 3, 3), labels(2, 3, 1, 3, 3), 2, normal(2, 4), normal(2, 4))
    yield sample(normal(2, 3, 4, 3), labels(2, 2, 4, 3) == 0, style="batch", eps_mode="official")
    yield sample(normal(2, 3, 7), 10 * labels(3, 2, 1, 7), bias=None, eps=1e-3)
    yield sample(normal(2, 3, 2, 3), labels(3, 2, 2, 3), 4, style="batch", bias=normal(4, 3))


REGION_NORM = Op(
    "region_norm",
    reference=reference.region_norm,
    kernels=("torch:region_norm.region_norm",),
    samples=_samples,
)
