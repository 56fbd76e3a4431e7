"""What the region normalisers share: masks and label maps at the size of the features, and sums over ranks."""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from normkit.kernels.dispatch import tracing
from normkit.kernels.reference._precision import statistics_dtype
from normkit.kernels.reference.region_norm import Moments, normalize_regions, region_moments

__all__ = ["as_mask", "check_options", "many_ranks", "region_norm_over_ranks", "resized"]


def check_options(layer: str, style: str, eps_mode: str, sync: bool) -> None:
    """Raise ValueError for an option that the layer does not know, or a pair that makes no sense."""
    if style not in ("instance", "batch"):
        raise ValueError(f"{layer}: style is 'instance' or 'batch', not {style!r}")
    if eps_mode not in ("plain", "official"):
        raise ValueError(f"{layer}: eps_mode is 'plain' or 'official', not {eps_mode!r}")
    if sync and style == "instance":
        raise ValueError(f"{layer}: sync=True joins the ranks' batches, but the instance style takes each sample alone")


def as_mask(layer: str, mask: Tensor) -> Tensor:
    """The mask as bool; ValueError, with how to threshold, where it holds anything but 0 and 1."""
    if mask.dtype == torch.bool:
        return mask
    if not (tracing() or mask.is_meta) and not bool(((mask == 0) | (mask == 1)).all()):
        low, high = mask.min().item(), mask.max().item()
        raise ValueError(
            f"{layer}: mask must hold 0 (valid) and 1 (hole) only, got values from {low:g} to {high:g}; threshold it, "
            f"e.g. mask > {127 if high > 1 else 0.5:g}"
        )
    return mask != 0


def resized(layer: str, label: Tensor, input: Tensor) -> Tensor:
    """A label map (batch, 1, H₀, W₀) or (batch, H₀, W₀) at the input's size, nearest neighbour: index ⌊i·H₀/H⌋."""
    label = label.unsqueeze(1) if label.ndim == 3 else label
    batch, _, height, width = input.shape
    if label.ndim != 4 or label.shape[:2] != (batch, 1):
        raise ValueError(
            f"{layer}: mask or label must be ({batch}, 1, height, width) or ({batch}, height, width) for an input of "
            f"shape {tuple(input.shape)}, got {tuple(label.shape)}"
        )
    rows, columns = label.shape[2:]
    if (rows, columns) == (height, width):
        return label
    # Convolutions with a stride round both sides, so the ratios may differ by less than one pixel of the features.
    if min(rows, columns) == 0 or abs(rows * width - columns * height) > max(rows, columns):
        raise ValueError(
            f"{layer}: a mask or label of {rows}×{columns} pixels has another ratio of height to width than the input, "
            f"{height}×{width}; cut or pad it as the image was"
        )
    return label[..., _nearest(rows, height, label.device)[:, None], _nearest(columns, width, label.device)]


def _nearest(size: int, wanted: int, device: torch.device) -> Tensor:
    """Indices by torch's own rule, so that the masks are those of the authors' code."""
    index = torch.arange(size, device=device, dtype=torch.float32)
    return F.interpolate(index[None, None], wanted, mode="nearest")[0, 0].long()


def many_ranks() -> bool:
    """Whether more than one process of `torch.distributed` shares the batch."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def region_norm_over_ranks(
    input: Tensor,
    label: Tensor,
    num_regions: int,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    eps_mode: str,
) -> Tensor:
    """Batch style with the sums over the batches of all ranks, which may differ in size; gradients reach every rank."""
    x = input.to(statistics_dtype(input.dtype))
    y = normalize_regions(x, label, num_regions, weight, bias, eps, eps_mode, lambda inside: _joint(x, inside))
    return y.to(input.dtype)


def _joint(x: Tensor, inside: Tensor) -> Moments:
    """Moments of a region over the batches of all ranks."""
    from torch.distributed.nn.functional import all_gather  # here, for it warns where there is no distributed build

    mean, variance, _, total = region_moments(x, inside, "batch")
    channels = mean.numel()
    counts = mean.new_tensor([float(total)]), inside.sum().to(x.dtype)[None]
    ranks = torch.stack(list(all_gather(torch.cat([mean.flatten(), variance.flatten(), *counts]))))
    means, variances, totals, sizes = ranks.tensor_split((channels, 2 * channels, 2 * channels + 1), dim=1)
    size = sizes.sum().clamp_min(1)
    overall = (sizes * means).sum(0) / size
    spread = (sizes * (variances + (means - overall) ** 2)).sum(0) / size
    return Moments(overall.view_as(mean), spread.view_as(mean), size, totals.sum())
