import numpy as np
import pytest
import torch

from normkit.data import as_images

BYTES = np.random.default_rng(0).integers(256, size=(2, 5, 6, 3), dtype=np.uint8)


def test_bytes_become_floats_with_the_channels_first() -> None:
    x = as_images(BYTES)
    assert x.shape == (2, 3, 5, 6)
    assert x.dtype == torch.float32
    assert np.allclose(x.permute(0, 2, 3, 1).numpy(), BYTES / 127.5 - 1, atol=1e-6)
    assert torch.equal(as_images(BYTES.transpose(0, 3, 1, 2).copy()), x)
    assert as_images(np.full((1, 8, 8, 1), 16, np.uint8), highest=16.0).unique().tolist() == [1.0]


def test_scaled_floats_are_left_alone() -> None:
    x = torch.randn(2, 1, 5, 6)
    assert as_images(x) is x
    assert as_images(16 * torch.rand(2, 3, 5, 6)).max() > 1  # not bytes: some data run from 0 to 16


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.zeros((2, 8, 8)), r"shape \(2, 8, 8\).*add an axis"),
        (np.zeros((2, 8, 8, 4), np.uint8), "RGBA"),
        (np.zeros((2, 4, 8, 8), np.uint8), "RGBA"),
        (np.zeros((2, 8, 8, 3), np.float32), "the channels stand last"),
        (np.full((2, 3, 8, 8), 255.0), "from 255 to 255, so unscaled bytes"),
    ],
)
def test_the_usual_mistakes_are_named(images: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        as_images(images)
