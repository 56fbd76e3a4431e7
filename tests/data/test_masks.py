import pytest
import torch

from normkit.data import random_masks


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", ["irregular", "rectangle"])
@pytest.mark.parametrize("size", [24, (16, 40), 64])
def test_the_area_is_the_one_asked_for(kind: str, size: int | tuple[int, int]) -> None:
    masks = random_masks(64, size, kind, (0.2, 0.3), draw())
    height, width = (size, size) if isinstance(size, int) else size
    assert masks.shape == (64, 1, height, width)
    assert masks.dtype == torch.bool
    area = masks.float().mean((1, 2, 3))
    assert area.min() >= 0.2
    assert area.max() <= 0.3
    assert area.max() - area.min() > 0.05
    assert len({tuple(mask.flatten().tolist()) for mask in masks}) > 60


def test_a_box_is_one_rectangle_and_irregular_is_none() -> None:
    for mask in random_masks(16, 24, "rectangle", 0.25, draw())[:, 0]:
        rows, columns = mask.any(1), mask.any(0)
        assert torch.equal(mask, rows[:, None] & columns)
        assert int(mask.sum()) == 144
    irregular = random_masks(16, 24, "irregular", 0.25, draw())[:, 0]
    assert not all(torch.equal(mask, mask.any(1)[:, None] & mask.any(0)) for mask in irregular)
    assert (irregular.sum((1, 2)) == 144).all()


def test_halves_are_halves_of_four_kinds() -> None:
    masks = random_masks(64, 10, "half", generator=draw())
    assert (masks.float().mean((1, 2, 3)) == 0.5).all()
    assert len({tuple(mask.flatten().tolist()) for mask in masks}) == 4


@pytest.mark.parametrize("kind", ["irregular", "rectangle", "half"])
def test_masks_follow_from_the_generator(kind: str) -> None:
    assert torch.equal(random_masks(4, 16, kind, generator=draw(5)), random_masks(4, 16, kind, generator=draw(5)))
    torch.manual_seed(5)
    without = random_masks(4, 16, kind)
    assert torch.equal(without, random_masks(4, 16, kind, generator=draw(5)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 8, "circle"), "kind is one of 'irregular', 'rectangle', 'half', not 'circle'"),
        ((0, 8), "0 masks of 8×8 pixels; every number must be at least 1"),
        ((1, 8, "rectangle", (0.5, 0.2)), "between 0 and 1, lowest first"),
        ((1, 8, "rectangle", 1.5), "between 0 and 1, lowest first, got 1.5"),
        ((1, 2, "rectangle", (0.3, 0.4)), r"no rectangle in 2×2 pixels has an area of 0.3 to 0.4"),
    ],
)
def test_what_cannot_be_drawn_is_said(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        random_masks(*arguments)
