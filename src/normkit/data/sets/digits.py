"""Handwritten digits of the UCI repository, as scikit-learn ships them: the embedded default of every experiment."""

from pathlib import Path

import numpy as np

from normkit.data.bunch import Arrays, DataSet

__all__ = ["DIGITS"]

TRAIN = 1297
"""Images of the standard training split; the other 500 are the test split."""


def _read(folder: Path | None) -> Arrays:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.images))
    split = {"train": order[:TRAIN], "test": order[TRAIN:]}
    return bunch.images.astype(np.uint8)[..., None], bunch.target.astype(np.int64), split


DIGITS = DataSet(
    name="digits",
    summary="1,797 grey 8×8 images of handwritten digits, values 0 to 16",
    source="UCI Optical Recognition of Handwritten Digits, shipped with scikit-learn (sklearn.datasets.load_digits)",
    licence="CC BY 4.0",
    citation="E. Alpaydin and C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI repository",
    read=_read,
    details={"classes": [str(digit) for digit in range(10)], "highest": 16},
)
