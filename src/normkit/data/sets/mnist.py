"""MNIST, in its four standard idx files."""

from pathlib import Path

import numpy as np

from normkit.data.bunch import Arrays, DataSet
from normkit.data.hub import fetch_split
from normkit.data.idx import read_idx, write_idx

__all__ = ["MNIST"]

_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def _read(folder: Path | None) -> Arrays:
    assert folder is not None
    train_x, train_y, test_x, test_y = (read_idx(folder / file) for file in _FILES)
    X = np.concatenate([train_x, test_x])[..., None]
    index = np.arange(len(X))
    split = {"train": index[: len(train_x)], "test": index[len(train_x) :]}
    return X, np.concatenate([train_y, test_y]).astype(np.int64), split


def _fetch(folder: Path) -> None:
    for split, (images, labels) in {"train": _FILES[:2], "test": _FILES[2:]}.items():
        rows = fetch_split("ylecun/mnist", split)
        write_idx(folder / images, np.stack([np.asarray(image, np.uint8) for image in rows["image"]]))
        write_idx(folder / labels, np.asarray(rows["label"], np.uint8))


MNIST = DataSet(
    name="mnist",
    summary="70,000 grey 28×28 images of handwritten digits",
    source="http://yann.lecun.com/exdb/mnist (mirror: huggingface.co/datasets/ylecun/mnist)",
    licence="CC BY-SA 3.0",
    citation="Y. LeCun, C. Cortes and C. J. C. Burges (1998), The MNIST database of handwritten digits",
    read=_read,
    files=_FILES,
    size=11_313_174,
    fetch=_fetch,
    details={"classes": [str(digit) for digit in range(10)], "highest": 255},
)
