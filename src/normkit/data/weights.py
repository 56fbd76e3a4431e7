"""Trained networks' weights: found where data sets are, fetched only when the user asks for it."""

import difflib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from normkit.data.bunch import Holding
from normkit.data.catalogue import decoded, find_files
from normkit.data.files import atomic

__all__ = ["pretrained"]

_URL = "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth"


def _fetch(folder: Path) -> None:
    # the eight digits in the file's name are the start of its SHA-256, which torch checks
    with atomic(folder / "mobilenet_v2_imagenet.npz") as temporary, temporary.open("wb") as file:
        state = torch.hub.load_state_dict_from_url(
            _URL, model_dir=str(folder), map_location="cpu", check_hash=True, weights_only=True
        )
        arrays: dict[str, Any] = {name: value.numpy() for name, value in state.items()}
        np.savez_compressed(file, **arrays)
    (folder / Path(_URL).name).unlink(missing_ok=True)


_KNOWN = {
    each.name: each
    for each in (
        Holding(
            name="mobilenetv2",
            summary="MobileNetV2 of width 1 trained on ImageNet, 314 arrays",
            source=f"{_URL}, as an npz file of its arrays",
            licence="BSD-3-Clause",
            citation="M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L.-C. Chen (2018), MobileNetV2: Inverted Residuals "
            "and Linear Bottlenecks; weights of torchvision",
            files=("mobilenet_v2_imagenet.npz",),
            size=13_187_275,
            fetch=_fetch,
        ),
    )
}


def pretrained(name: str, *, download: bool = False) -> dict[str, NDArray[Any]]:
    """The weights `name` by their state_dict's keys, as numpy arrays.

    Args:
        name: "mobilenetv2" (torchvision's ImageNet weights; `normkit.models.mobilenet_v2("imagenet")` holds them).
        download: fetch the file from the internet into the data folder when it is not there.

    Raises:
        KeyError: no weights have that name.
        DataNotFound: the file is not on this machine; the message names it, its size and the ways to get it.
        ValueError: the file is there but damaged.
    """
    if name not in _KNOWN:
        close = difflib.get_close_matches(name, _KNOWN, n=3, cutoff=0.4) or sorted(_KNOWN)
        raise KeyError(f"there are no weights {name!r}: give {' or '.join(close)}")
    wanted = _KNOWN[name]
    folder = find_files(wanted, download, f'normkit.data.pretrained("{name}", download=True)')
    return decoded(wanted, folder, lambda folder: _read(folder / wanted.files[0]))


def _read(path: Path) -> dict[str, NDArray[Any]]:
    # numpy leaves a path that it opened itself open where the file is damaged
    with path.open("rb") as file, np.load(file) as arrays:
        return {key: arrays[key] for key in arrays}
