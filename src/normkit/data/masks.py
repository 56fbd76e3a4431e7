"""Random masks of holes, 1 where a pixel is missing: rectangles, irregular unions of strokes and boxes, halves."""

from collections.abc import Callable

import torch
from jaxtyping import Bool
from torch import Tensor

__all__ = ["random_masks"]

Masks = Bool[Tensor, "n 1 height width"]
Area = float | tuple[float, float]


def random_masks(
    n: int,
    size: int | tuple[int, int],
    kind: str = "irregular",
    area: Area = (0.1, 0.6),
    generator: torch.Generator | None = None,
) -> Masks:
    """`n` masks (n, 1, height, width), true in the hole.

    Args:
        n: how many.
        size: height and width in pixels, or one number for both.
        kind: "rectangle" is one of any compact shape; "irregular" a union of thick strokes and boxes, the last of which
            is cut where the wanted area is reached; "half" the left, right, upper or lower half, whatever `area` says.
        area: share of the pixels that is missing, or (lowest, highest), from which each mask draws its own.
        generator: draws everything, on the CPU; None uses torch's own.

    Raises:
        ValueError: an unknown kind, a number below 1, an area outside of (0, 1), or one that no rectangle has at this
            size.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if n < 1 or height < 1 or width < 1:
        raise ValueError(f"random_masks: {n} masks of {height}×{width} pixels; every number must be at least 1")
    if kind not in _KINDS:
        raise ValueError(f"random_masks: kind is one of {', '.join(map(repr, _KINDS))}, not {kind!r}")
    low, high = (area, area) if isinstance(area, int | float) else area
    if not 0 < low <= high < 1:
        raise ValueError(f"random_masks: area is a share of the pixels between 0 and 1, lowest first, got {area}")
    return _KINDS[kind](n, height, width, (low, high), generator).unsqueeze(1)


def _rectangles(n: int, height: int, width: int, area: tuple[float, float], draw: torch.Generator | None) -> Tensor:
    """One rectangle each, every shape of a fitting area equally likely; the sides at most 1 : 3 where that goes."""
    rows, columns = torch.arange(1, height + 1), torch.arange(1, width + 1)
    pixels = rows[:, None] * columns
    fits = (pixels >= area[0] * height * width) & (pixels <= area[1] * height * width)
    compact = fits & (rows[:, None] <= 3 * columns) & (columns <= 3 * rows[:, None])
    sides = (compact if compact.any() else fits).nonzero() + 1
    if not len(sides):
        raise ValueError(f"random_masks: no rectangle in {height}×{width} pixels has an area of {area[0]} to {area[1]}")
    sides = sides[torch.randint(len(sides), (n,), generator=draw)]
    top = (torch.rand(n, generator=draw) * (height - sides[:, 0] + 1)).long()
    left = (torch.rand(n, generator=draw) * (width - sides[:, 1] + 1)).long()
    return _box(top, left, sides, height, width)


def _box(top: Tensor, left: Tensor, sides: Tensor, height: int, width: int) -> Tensor:
    rows, columns = torch.arange(height), torch.arange(width)
    across = (rows >= top[:, None]) & (rows < (top + sides[:, 0])[:, None])
    along = (columns >= left[:, None]) & (columns < (left + sides[:, 1])[:, None])
    return across[:, :, None] & along[:, None, :]


def _irregular(n: int, height: int, width: int, area: tuple[float, float], draw: torch.Generator | None) -> Tensor:
    """Strokes and boxes by turns of chance, until each mask has as many pixels as it shall have."""
    share = area[0] + (area[1] - area[0]) * torch.rand(n, generator=draw)
    lowest, highest = -int(-area[0] * height * width // 1), int(area[1] * height * width)
    wanted = (share * height * width).round().long().clamp(lowest, max(lowest, highest))
    masks = torch.zeros(n, height * width, dtype=torch.bool)
    while bool(((missing := wanted - masks.sum(1)) > 0).any()):
        either = torch.rand(n, 1, 1, generator=draw) < 0.5
        pieces = torch.where(either, _strokes(n, height, width, draw), _small_boxes(n, height, width, draw))
        new = pieces.flatten(1) & ~masks
        masks |= new & (new.cumsum(1) <= missing[:, None])
    return masks.view(n, height, width)


def _strokes(n: int, height: int, width: int, draw: torch.Generator | None) -> Tensor:
    """Pixels closer than half a thickness to a segment, which is 1/5 to 3/5 of the shorter side long."""
    side = min(height, width)
    start = torch.rand(n, 2, generator=draw) * torch.tensor([height, width])
    angle = 2 * torch.pi * torch.rand(n, generator=draw)
    length = side * (0.2 + 0.4 * torch.rand(n, generator=draw))
    thickness = (side * (0.05 + 0.1 * torch.rand(n, generator=draw))).clamp_min(1.5)
    along = torch.stack([angle.sin(), angle.cos()], 1)
    rows, columns = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    y, x = rows[None, :, None] - start[:, 0, None, None], columns[None, None, :] - start[:, 1, None, None]
    dy, dx = along[:, 0, None, None], along[:, 1, None, None]
    reach = (y * dy + x * dx).clamp_min(0).minimum(length[:, None, None])
    return (y - reach * dy) ** 2 + (x - reach * dx) ** 2 <= (thickness[:, None, None] / 2) ** 2


def _small_boxes(n: int, height: int, width: int, draw: torch.Generator | None) -> Tensor:
    """Boxes whose sides are 1/10 to 2/5 of the image's."""
    limits = torch.tensor([height, width])
    sides = ((0.1 + 0.3 * torch.rand(n, 2, generator=draw)) * limits).round().long().clamp_min(1)
    corner = (torch.rand(n, 2, generator=draw) * (limits - sides + 1)).long()
    return _box(corner[:, 0], corner[:, 1], sides, height, width)


def _halves(n: int, height: int, width: int, area: tuple[float, float], draw: torch.Generator | None) -> Tensor:
    which = torch.randint(4, (n, 1, 1), generator=draw)
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None, :]
    upper, left = (rows < height // 2).expand(height, width), (columns < width // 2).expand(height, width)
    return torch.where(which < 2, upper, left) ^ (which % 2 == 1)


_KINDS: dict[str, Callable[..., Tensor]] = {"irregular": _irregular, "rectangle": _rectangles, "half": _halves}
