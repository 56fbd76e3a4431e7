"""What an inpainting network does: a table by the size of the holes, and one photograph filled in."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from normkit.data import random_masks
from normkit.models.inpainting.generator import InpaintGenerator
from normkit.models.inpainting.losses import hole_l1, merged, psnr, ssim

__all__ = ["BUCKETS", "Bucket", "evaluate", "fill"]

BUCKETS = ((0.1, 0.2), (0.2, 0.3), (0.3, 0.4), (0.4, 0.5), (0.5, 0.6))
"""Shares of missing pixels by which results are told apart, as in the field's tables."""


@dataclass(frozen=True)
class Bucket:
    """Mean quality of the merged pictures whose holes take a share of the pixels between `area[0]` and `area[1]`.

    `ssim` is None where the pictures are smaller than its window.
    """

    area: tuple[float, float]
    psnr: float
    ssim: float | None
    l1: float
    count: int


@torch.no_grad()
def evaluate(
    generator: InpaintGenerator,
    images: Float[Tensor, "count 3 height width"],
    *,
    masks: Shaped[Tensor, "count 1 height width"] | None = None,
    kind: str = "irregular",
    buckets: Sequence[tuple[float, float]] = BUCKETS,
    batch_size: int = 8,
    seed: int = 0,
) -> list[Bucket]:
    """PSNR (dB), SSIM and the mean distance in the holes of the merged pictures, by the share that is missing.

    Every bucket sees all pictures, under masks of its own, which follow from `seed`; with `masks` given there is one
    bucket, from the smallest hole to the largest.

    Args:
        generator: the network; its mode is put back.
        images: pictures in 0…1.
        masks: true or 1 in the holes, for pictures with masks of their own.
        kind: of the random masks, see `normkit.data.random_masks`.
        buckets: shares (lowest, highest).
        batch_size: pictures at once; in the batch style it is part of what is measured.
        seed: of the masks.

    Raises:
        ValueError: no picture, no mask with a hole, or sides that the network does not take.
    """
    if not len(images):
        raise ValueError("there is no picture to evaluate on")
    if masks is not None:
        holes = masks.flatten(1).any(1)
        if not bool(holes.any()):
            raise ValueError("no mask holds a hole: paint white what is to be filled in")
        images, masks = images[holes], masks[holes]
        area = masks.float().mean((1, 2, 3))
        return [_bucket(generator, images, masks, (float(area.min()), float(area.max())), batch_size)]
    draw = torch.Generator().manual_seed(seed)
    size = (images.shape[-2], images.shape[-1])
    return [
        _bucket(generator, images, random_masks(len(images), size, kind, area, draw), area, batch_size)
        for area in buckets
    ]


def _bucket(
    generator: InpaintGenerator, images: Tensor, masks: Tensor, area: tuple[float, float], batch_size: int
) -> Bucket:
    training = generator.training
    generator.eval()
    try:
        pairs = zip(images.split(batch_size), masks.split(batch_size), strict=True)
        device = next(generator.parameters()).device
        predictions = torch.cat([generator(x.to(device), m.to(device)).to(images.device) for x, m in pairs])
    finally:
        generator.train(training)
    whole = merged(predictions, images, masks)
    similarity = float(ssim(whole, images).mean()) if min(images.shape[-2:]) >= 11 else None
    parts = (each.split(1) for each in (predictions, images, masks))
    distance = torch.stack([hole_l1(*each) for each in zip(*parts, strict=True)]).mean()
    return Bucket(area, float(psnr(whole, images).mean()), similarity, float(distance), len(images))


@torch.no_grad()
def fill(
    generator: InpaintGenerator,
    image: Float[Tensor, "3 height width"],
    mask: Shaped[Tensor, "..."],
) -> Float[Tensor, "3 height width"]:
    """One photograph of any size, its mask (1, height, width) filled in; outside it stays as it was, bit by bit.

    Sides that are no multiples of the network's step are longer meanwhile: their last pixels, and the mask's, repeat.

    Raises:
        ValueError: photograph and mask differ in size, or the mask holds no hole.
    """
    if image.shape[-2:] != mask.shape[-2:]:
        raise ValueError(
            f"the photograph has {image.shape[-2]}×{image.shape[-1]} pixels and the mask {mask.shape[-2]}×"
            f"{mask.shape[-1]}: draw the mask on the photograph itself"
        )
    holes = mask.to(torch.bool)
    if not bool(holes.any()):
        raise ValueError("the mask holds no hole: paint white what is to be filled")
    step = 2**generator.downs
    height, width = image.shape[-2:]
    padding = (0, -width % step, 0, -height % step)
    device = next(generator.parameters()).device
    padded = (F.pad(each[None].to(device, torch.float32), padding, mode="replicate") for each in (image, holes))
    training = generator.training
    generator.eval()
    try:
        prediction = generator(*padded)[..., :height, :width]
    finally:
        generator.train(training)
    return merged(prediction.to(image.device), image[None], holes[None])[0]
