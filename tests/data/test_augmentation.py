import pytest
import torch
from torch.nn import functional as F

from normkit.data import crop_and_flip


def test_every_image_is_a_crop_of_its_padded_self_or_of_its_mirror() -> None:
    x = torch.arange(1.0, 1 + 200 * 2 * 3 * 4).view(200, 2, 3, 4)
    y = crop_and_flip(x, 1, torch.Generator().manual_seed(0))
    assert y.shape == x.shape
    padded = F.pad(x, (1,) * 4)
    seen = set()
    for image, own in zip(y, padded, strict=True):
        places = [
            (top, left, mirrored)
            for top in range(3)
            for left in range(3)
            for mirrored in (False, True)
            if torch.equal(image.flip(-1) if mirrored else image, own[:, top : top + 3, left : left + 4])
        ]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) == 18


def test_without_padding_it_only_mirrors_and_follows_its_generator() -> None:
    x = torch.randn(20, 3, 5, 5)
    first, again = (crop_and_flip(x, 0, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, again)
    kept = [torch.equal(a, b) for a, b in zip(first, x, strict=True)]
    assert 0 < sum(kept) < 20
    assert all(torch.equal(a.flip(-1), b) for a, b, same in zip(first, x, kept, strict=True) if not same)
    with pytest.raises(ValueError, match="padding is -1"):
        crop_and_flip(x, -1)
