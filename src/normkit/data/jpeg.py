"""Images kept as JPEG files end to end in one array: file i is `blob[offsets[i]:offsets[i + 1]]`."""

import io
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["decode_all"]


def decode_all(blob: NDArray[np.uint8], offsets: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
    """The images as uint8 (height, width, 3).

    Raises:
        ImportError: Pillow is not installed.
        ValueError: a file is no image.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ModuleNotFoundError:
        raise ImportError("decoding JPEG needs Pillow: pip install pillow") from None
    images: list[NDArray[Any]] = []
    for index, (start, stop) in enumerate(pairwise(offsets)):
        try:
            images.append(np.asarray(Image.open(io.BytesIO(blob[start:stop].tobytes())).convert("RGB")))
        except UnidentifiedImageError:
            raise ValueError(f"image {index} is no JPEG file") from None
    return images
