"""Pictures with holes to train on: random crops, mirrored by chance, each with a mask."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from normkit.data import random_masks, read_mask, read_picture

__all__ = ["Examples", "loader"]

Pictures = Sequence[Path] | UInt8[Tensor, "count 3 height width"]


class Examples(Dataset[dict[str, Tensor]]):
    """A batch is `images` (batch, 3, size, size) in 0…1 and `masks` (batch, 1, size, size), true in the hole.

    Every visit to a picture cuts another crop and draws another mask, from torch's global generator.

    Args:
        pictures: files, or bytes (count, 3, height, width). One that is smaller than a crop is enlarged.
        size: of a crop, in pixels.
        masks: a kind of `random_masks`, or files of masks (white = hole), one drawn for each crop.
        area: share of the pixels that is missing, for random masks.

    Raises:
        ValueError: no picture, no mask, or a size below 1.
    """

    def __init__(
        self,
        pictures: Pictures,
        size: int,
        masks: str | Sequence[Path] = "irregular",
        area: float | tuple[float, float] = (0.1, 0.6),
    ) -> None:
        if not len(pictures) or not len(masks):
            raise ValueError(f"Examples: {len(pictures)} pictures and {len(masks)} masks; at least one each is needed")
        if size < 1:
            raise ValueError(f"Examples: size is {size}, it must be at least 1")
        self.pictures, self.size, self.masks, self.area = pictures, size, masks, area

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        images = torch.stack([self._crop(self._picture(index)) for index in indices])
        if isinstance(self.masks, str):
            masks = random_masks(len(images), self.size, self.masks, self.area)
        else:
            masks = torch.stack([self._mask(self.masks) for _ in indices])
        return {"images": images, "masks": masks}

    def _picture(self, index: int) -> Tensor:
        if isinstance(self.pictures, Tensor):
            return self.pictures[index]
        return read_picture(self.pictures[index])

    def _crop(self, picture: Tensor) -> Tensor:
        image = _cut(_at_least(picture, self.size, "bilinear"), self.size)
        image = image.flip(-1) if torch.rand(()) < 0.5 else image
        return image.float() / 255 if image.dtype == torch.uint8 else image

    def _mask(self, files: Sequence[Path]) -> Tensor:
        mask = read_mask(files[int(torch.randint(len(files), ()))])
        scale = self.size / min(mask.shape[-2:])
        sides = [max(self.size, round(side * scale)) for side in mask.shape[-2:]]
        return _cut(F.interpolate(mask[None].float(), sides, mode="nearest")[0] > 0.5, self.size)


def loader(examples: Examples, batch_size: int, seed: int = 0, workers: int = 0) -> DataLoader[dict[str, Tensor]]:
    """Batches of `examples` in an order that follows from `seed`; the last, smaller one of a pass is left out.

    Raises:
        ValueError: there are fewer pictures than a batch holds.
    """
    if len(examples) < batch_size:
        raise ValueError(
            f"{len(examples)} pictures make no batch of {batch_size}: give more, or a smaller batch_size (--batch-size "
            f"{len(examples)})"
        )
    order = torch.Generator().manual_seed(seed)
    return DataLoader(
        examples, batch_size, shuffle=True, drop_last=True, collate_fn=_as_is, generator=order, num_workers=workers
    )


def _as_is(batch: Any) -> Any:
    return batch


def _at_least(picture: Tensor, size: int, mode: str) -> Tensor:
    """The picture, enlarged where a side is shorter than `size`."""
    height, width = picture.shape[-2:]
    if min(height, width) >= size:
        return picture
    sides = [max(size, round(side * size / min(height, width))) for side in (height, width)]
    large = F.interpolate(picture[None].float(), sides, mode=mode, align_corners=False)[0]
    return large.round().to(torch.uint8) if picture.dtype == torch.uint8 else large


def _cut(picture: Tensor, size: int) -> Tensor:
    """A square of `size` pixels from a random place."""
    top, left = (int(torch.randint(side - size + 1, ())) for side in picture.shape[-2:])
    return picture[..., top : top + size, left : left + size]
