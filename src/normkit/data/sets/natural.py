"""Photographs of the Berkeley Segmentation Data Set at half size."""

from pathlib import Path

import numpy as np

from normkit.data.bunch import Arrays, DataSet
from normkit.data.jpeg import decode_all

__all__ = ["NATURAL"]


def _read(folder: Path | None) -> Arrays:
    assert folder is not None
    with np.load(folder / "bsds500_half.npz") as file:
        images, is_test = decode_all(file["blob"], file["offsets"]), file["is_test"]
    # upright pictures are turned on their side, so that all have one shape
    X = np.stack([image if image.shape[0] < image.shape[1] else np.rot90(image) for image in images])
    return X, None, {"train": np.flatnonzero(~is_test), "test": np.flatnonzero(is_test)}


NATURAL = DataSet(
    name="natural",
    summary="500 colour photographs, 160×240 (upright ones turned by 90°), in the official 300/200 split",
    source="https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/bsds, halved (Lanczos, JPEG quality 92)",
    licence="non-commercial research and education, cite the paper",
    citation="P. Arbelaez, M. Maire, C. Fowlkes and J. Malik (2011), Contour Detection and Hierarchical Image "
    "Segmentation",
    read=_read,
    files=("bsds500_half.npz",),
    size=10_212_584,
    details={"highest": 255},
)
