"""Photographs and masks in files of the user's own, read with Pillow; pictures are written whole or not at all."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from normkit.data.files import write_atomically

__all__ = ["LOSSY", "picture_files", "read_mask", "read_picture", "save_picture"]

_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
LOSSY = (".jpg", ".jpeg", ".webp")
"""Endings of formats in which a pixel does not come back as it was written."""
_FORMATS = dict(zip(_ENDINGS, ("JPEG", "JPEG", "PNG", "BMP", "WEBP", "TIFF", "TIFF"), strict=True))


def picture_files(folder: str | os.PathLike[str]) -> list[Path]:
    """The picture files in a folder and those below it, in the order of their names.

    Raises:
        FileNotFoundError: there is no such folder, or no picture in it; says which endings are known.
    """
    path = Path(folder)
    if not path.is_dir():
        raise FileNotFoundError(f"{path} is no folder: give one that holds pictures")
    found = sorted(each for each in path.rglob("*") if each.suffix.lower() in _ENDINGS and each.is_file())
    if not found:
        raise FileNotFoundError(f"{path} holds no picture: files ending in {', '.join(_ENDINGS)} are looked for")
    return found


def read_picture(path: str | os.PathLike[str]) -> Float[Tensor, "3 height width"]:
    """A photograph as floats in 0…1, turned as its camera says; grey ones get three equal channels, alpha is dropped.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no picture.
        ImportError: Pillow is not installed.
    """
    pixels = np.asarray(_opened(path).convert("RGB"))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


def read_mask(path: str | os.PathLike[str], size: tuple[int, int] | None = None) -> Bool[Tensor, "1 height width"]:
    """A mask, true where the picture is brighter than half: white is the hole. With `size` = (height, width) it is
    brought to that size by nearest neighbours.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no picture, or it has another ratio of the sides than `size`.
        ImportError: Pillow is not installed.
    """
    mask = torch.from_numpy(np.asarray(_opened(path).convert("L")) > 127)
    height, width = mask.shape
    if size is not None and (height, width) != size:
        if abs(height * size[1] - width * size[0]) > max(height, width):
            raise ValueError(
                f"{path} has {height}×{width} pixels, and {size[0]}×{size[1]} are wanted, which is another ratio of "
                "the sides: draw the mask on the picture itself"
            )
        rows, columns = (torch.arange(wanted) * have // wanted for have, wanted in zip(mask.shape, size, strict=True))
        mask = mask[rows[:, None], columns]
    return mask.unsqueeze(0)


def save_picture(path: str | os.PathLike[str], image: Float[Tensor, "3 height width"]) -> Path:
    """Write floats in 0…1 as a picture, in the format of the file's ending; whole or not at all.

    Raises:
        ValueError: the ending is none of a picture.
        OSError: the folder cannot be written.
    """
    from PIL import Image

    target = Path(path)
    if target.suffix.lower() not in _FORMATS:
        raise ValueError(f"{target} has the ending {target.suffix!r}: a picture ends in {', '.join(_ENDINGS)}")
    pixels = (image.detach().clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, _FORMATS[target.suffix.lower()])
    return write_atomically(target, content.getvalue())


def _opened(path: str | os.PathLike[str]) -> Any:
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ModuleNotFoundError:
        raise ImportError("reading pictures needs Pillow: pip install pillow") from None
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is no file: give a picture")
    try:
        with Image.open(path) as picture:
            return _eight_bits(ImageOps.exif_transpose(picture).copy(), path)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"{path} is no picture that can be read ({type(error).__name__})") from None


def _eight_bits(picture: Any, path: str | os.PathLike[str]) -> Any:
    """Pictures of 16 bits a pixel scaled to 8, where Pillow's own conversion would cut off; others as they are.

    Raises:
        ValueError: the numbers are no grey levels of 16 bits.
    """
    from PIL import Image

    if not (picture.mode in ("I", "F") or picture.mode.startswith("I;16")):
        return picture
    levels = np.asarray(picture)
    if picture.mode == "F" or levels.min() < 0 or levels.max() > 65535:
        raise ValueError(
            f"{path} holds numbers of mode {picture.mode!r} from {levels.min()} to {levels.max()}: wanted are grey "
            "levels of 8 or 16 bits, or colours of 8 bits; save it so"
        )
    return Image.fromarray(((levels.astype(np.uint32) + 128) // 257).astype(np.uint8))
