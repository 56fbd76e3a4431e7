"""Region normalisation with its gradient by hand: of the size of x, x alone is kept for the backward pass.

With R (batch, regions, pixels) the indicators of the regions, sums over regions and their way back to the pixels are
products with R, which on the CPU are several times quicker than selecting. Such a product spreads a NaN to other
regions, so a call whose moments are not finite is left to the reference; on other devices pixels are selected, for a
product may be rounded there (TF32).

    d = x − μ R,   y = d · (γ r R) + β R,   r = (v + ε)^(−1/2)
    ∂x = g · (γ r R) − d · (γ r³ G₂/S R) − (γ r G₁/S R),   G₁ = Σ_region g,   G₂ = Σ_region g d
    ∂γ = Σ_batch r G₂,   ∂β = Σ_batch G₁
"""

from math import isfinite
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_legacy_batchedtensor

from normkit.kernels.differentiable import by_formula, recorded, typed
from normkit.kernels.dispatch import forward_mode, tracing
from normkit.kernels.reference import region_norm as reference
from normkit.kernels.reference._precision import statistics_dtype

__all__ = ["region_norm", "supports"]


def region_norm(
    input: Tensor,
    label: Tensor,
    num_regions: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    style: str = "instance",
    eps: float = 1e-5,
    eps_mode: str = "plain",
) -> Tensor:
    """y = Σ_k R_k [ (x − μ_k) r_k γ_k + β_k ]."""
    gradient = recorded(input, weight, bias)
    with torch.no_grad(), torch.autocast(input.device.type, enabled=False):
        x, regions = _opened(input, label, num_regions)
        mean, rstd, size, d, rest = _statistics(x, regions, style, eps, eps_mode)
        finite = not input.is_cpu or isfinite(rstd.sum().item())
        if finite and not gradient:
            return _forward(input, regions, weight, bias, rstd, d, rest)
    if not finite:
        return reference.region_norm(input, label, num_regions, weight, bias, style, eps, eps_mode)
    how = (label, num_regions, style, eps, eps_mode)
    y: Tensor = _RegionNorm.apply(input, weight, bias, regions, mean, rstd, size, d, rest, how)
    return y


def supports(op: str, input: Tensor, *args: object) -> str | None:
    """None if this kernel can do the call, else the reason why not."""
    if tracing() or input.is_meta:
        return "the call is traced or transformed, and this kernel looks at the moments before it goes on"
    if forward_mode():
        return "it has no forward-mode derivative"
    return None if input.numel() else "the input has no elements"


class _RegionNorm(torch.autograd.Function):
    """The statistics and d = x − μ R come in as constants: the gradient through them is in the formula."""

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        regions: Tensor,
        mean: Tensor,
        rstd: Tensor,
        size: Tensor,
        d: Tensor,
        rest: Tensor,
        how: tuple[Any, ...],
    ) -> Tensor:
        ctx.save_for_backward(input, weight, bias, regions, mean, rstd, size, how[0])
        ctx.how = how[1:]
        with torch.autocast(input.device.type, enabled=False):
            return _forward(input, regions, weight, bias, rstd, d, rest)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, regions, mean, rstd, size, label = ctx.saved_tensors
        input, weight, _ = inputs
        if torch.is_grad_enabled() or is_legacy_batchedtensor(grad):  # to be differentiated again, or several at once
            num_regions, *how = ctx.how
            found = by_formula(lambda x, w, b: reference.region_norm(x, label, num_regions, w, b, *how), inputs, grad)
            return (*found, *(None,) * 7)
        with torch.autocast(input.device.type, enabled=False):
            d = _less(_flat(input), mean, regions)
            dx, *of_channels = _gradients(d, _flat(grad), regions, weight, rstd, size)
        return (*typed((dx.view(input.shape), *of_channels), inputs), *(None,) * 7)


def _forward(
    input: Tensor, regions: Tensor, weight: Tensor | None, bias: Tensor | None, rstd: Tensor, d: Tensor, rest: Tensor
) -> Tensor:
    slope = _scaled(rstd, weight)
    shift = -rest * slope if bias is None else _by_channel(bias, d) - rest * slope
    y = _add_(_at_pixels(slope, regions).mul_(d), shift, regions)
    return y.view(input.shape).to(input.dtype)


def _gradients(
    d: Tensor, g: Tensor, regions: Tensor, weight: Tensor | None, rstd: Tensor, size: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients for x, γ and β, given that of y; see the module's docstring. Writes over d."""
    along_bias, along_d = _sums(g, regions), _sums(g * d, regions)
    d_weight, d_bias = (along_d * rstd).sum(0).mT, along_bias.sum(0).mT
    if len(rstd) < len(g):  # the statistics are those of the batch
        along_bias, along_d = along_bias.sum(0, keepdim=True), along_d.sum(0, keepdim=True)
    slope = _scaled(rstd, weight)
    dx = _at_pixels(slope, regions).mul_(g).sub_(d.mul_(_at_pixels(slope * rstd.square() * along_d / size, regions)))
    return _add_(dx, -slope * along_bias / size, regions), d_weight, d_bias


def _statistics(x: Tensor, regions: Tensor, style: str, eps: float, eps_mode: str) -> tuple[Tensor, ...]:
    """μ and r = (v + ε)^(−1/2), (batch or 1, channels, regions), S, (batch or 1, 1, regions), d = x − μ R, its mean.

    The mean of d is what rounding left of μ: small, but divided by sqrt(ε) where a region is flat.
    """
    total: int = regions.shape[-1]
    size = regions.sum(-1, dtype=x.dtype).unsqueeze(1)
    if style == "batch":
        size, total = size.sum(0, keepdim=True), total * len(regions)
    size = size.clamp_min(1)
    mean = _joined(_sums(x, regions), style) / size
    d = _less(x, mean, regions)
    rest = _joined(_sums(d, regions), style) / size
    variance = _joined(_sums(d.square(), regions), style) / size - rest.square()
    eps_of_region = eps if eps_mode == "plain" else eps * total / size
    return mean, (variance.clamp_min(0) + eps_of_region).rsqrt(), size, d, rest


def _joined(sums: Tensor, style: str) -> Tensor:
    return sums.sum(0, keepdim=True) if style == "batch" else sums


def _opened(input: Tensor, label: Tensor, num_regions: int) -> tuple[Tensor, Tensor]:
    """x as (batch, channels, pixels) and the indicators (batch, regions, pixels): numbers on the CPU, else bool."""
    x = _flat(input)
    label = label.flatten(2)
    if label.dtype == torch.bool and num_regions == 2:
        regions = torch.cat([~label, label], 1)
    else:
        regions = label == torch.arange(num_regions, device=label.device).view(1, -1, 1)
    return x, regions.to(x.dtype) if input.is_cpu else regions


def _flat(values: Tensor) -> Tensor:
    return values.to(statistics_dtype(values.dtype)).flatten(2)


def _sums(values: Tensor, regions: Tensor) -> Tensor:
    """Σ over each region of values (batch, channels, pixels): (batch, channels, regions)."""
    if regions.dtype != torch.bool:
        return values.bmm(regions.mT)
    return torch.stack([torch.where(inside.unsqueeze(1), values, 0.0).sum(-1) for inside in regions.unbind(1)], -1)


def _at_pixels(of_regions: Tensor, regions: Tensor) -> Tensor:
    """Values (batch or 1, channels, regions) at the pixels of each region: (batch, channels, pixels)."""
    if regions.dtype != torch.bool:
        return of_regions.expand(len(regions), -1, -1).bmm(regions)
    found = of_regions.new_zeros(())
    for index, inside in enumerate(regions.unbind(1)):
        found = torch.where(inside.unsqueeze(1), of_regions[..., index : index + 1], found)
    return found


def _less(values: Tensor, of_regions: Tensor, regions: Tensor) -> Tensor:
    """values − of_regions R."""
    if regions.dtype != torch.bool:
        return torch.baddbmm(values, of_regions.expand(len(regions), -1, -1), regions, alpha=-1)
    return values - _at_pixels(of_regions, regions)


def _add_(values: Tensor, of_regions: Tensor, regions: Tensor) -> Tensor:
    """values + of_regions R, in place: a fresh tensor of that size costs more than the sum."""
    if regions.dtype != torch.bool:
        return values.baddbmm_(of_regions.expand(len(regions), -1, -1), regions)
    return values.add_(_at_pixels(of_regions, regions))


def _scaled(rstd: Tensor, weight: Tensor | None) -> Tensor:
    return rstd if weight is None else rstd * _by_channel(weight, rstd)


def _by_channel(parameter: Tensor, like: Tensor) -> Tensor:
    """A parameter (regions, channels) as (1, channels, regions)."""
    return parameter.to(like.dtype).mT.unsqueeze(0)
