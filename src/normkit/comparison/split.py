"""The data of a comparison: what is trained on and what is judged on, in batches of any size where that can be."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from normkit.data import Bunch, as_images, batches
from normkit.training import inputs_of

__all__ = ["ArraySplit", "BatchSplit", "Split", "split_of"]

_JUDGED = 512
"""Samples a batch when judging: in eval mode the size does not matter to the result."""

_HELD_OUT = 5
"""One in so many samples is kept for judging where the user did not split the data."""


@dataclass(frozen=True)
class ArraySplit:
    """Two pairs of tensors, (N, …) inputs and (N, …) targets, cut into batches of any size."""

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor

    def train(self, batch_size: int, seed: int) -> DataLoader[tuple[Tensor, Tensor]]:
        """Shuffled batches; an incomplete last one is dropped, so that every step sees `batch_size` samples."""
        if batch_size > len(self.x_train):
            raise ValueError(f"a batch of {batch_size} is larger than the {len(self.x_train)} training samples")
        return batches(self.x_train, self.y_train, batch_size, seed=seed, drop_last=True)

    def test(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Batches in order, all samples."""
        return batches(self.x_test, self.y_test, _JUDGED, shuffle=False)

    def fingerprint(self) -> str:
        """SHA-256 of all values, shortened."""
        return _digest([self.x_train, self.y_train, self.x_test, self.y_test])


@dataclass(frozen=True)
class BatchSplit:
    """Two loaders as the user made them; their batches keep their size and their order."""

    loader: Iterable[Any]
    judged: Iterable[Any]

    def train(self, batch_size: int, seed: int) -> Iterable[Any]:
        """The user's loader; a generator of its own is set by `seed`, so that runs with one seed see one order."""
        generator = getattr(self.loader, "generator", None)
        if isinstance(generator, torch.Generator):
            generator.manual_seed(seed)
        return self.loader

    def test(self) -> Iterable[Any]:
        """The user's second loader."""
        return self.judged

    def fingerprint(self) -> str:
        """SHA-256 of the first batch for judging, shortened."""
        return _digest(_tensors(next(iter(self.judged))))


Split = ArraySplit | BatchSplit


def split_of(data: Any, *, seed: int = 0) -> Split:
    """Understand the data of a comparison.

    Args:
        data: (x_train, y_train, x_test, y_test); a pair of loaders (train, test); a `Bunch` (its splits "train" and
            "test"; images become −1…1 floats, channels first); (X, y) or one loader of batches, of which a fifth,
            drawn by `seed`, is kept for judging.
        seed: of that draw.

    Raises:
        TypeError: it is none of these; says what is wanted.
        ValueError: it is empty, or lengths differ.
    """
    if isinstance(data, Bunch):
        return _from_bunch(data)
    if isinstance(data, (tuple, list)) and data and all(isinstance(each, (Tensor, np.ndarray)) for each in data):
        tensors = [torch.as_tensor(each) for each in data]
        if len(tensors) == 4:
            x_train, y_train, x_test, y_test = tensors
            return _checked(ArraySplit(_images(x_train), y_train, _images(x_test), y_test))
        if len(tensors) == 2:
            return _held_out(_images(tensors[0]), tensors[1], seed=seed)
    if isinstance(data, (tuple, list)) and len(data) == 2 and all(_is_loader(each) for each in data):
        return BatchSplit(*data)
    if _is_loader(data):
        return _from_loader(data, seed)
    raise TypeError(
        f"data is a {type(data).__name__}: give (x_train, y_train, x_test, y_test), (X, y), a Bunch of normkit.data, "
        "a pair of loaders (train, test), or one loader"
    )


def _is_loader(value: Any) -> bool:
    """A loader can be passed over again: a DataLoader, or a list of batches; a single batch is none."""
    if isinstance(value, (Tensor, np.ndarray, Mapping, str)) or not hasattr(value, "__iter__"):
        return False
    return not isinstance(value, Sequence) or (bool(value) and not isinstance(value[0], Tensor))


def _images(X: Tensor) -> Tensor:
    """Four axes are images, and the usual mistakes with them are named; everything else is left as it is."""
    return as_images(X) if X.ndim == 4 and (X.dtype == torch.uint8 or {1, 3, 4} & {X.shape[1], X.shape[-1]}) else X


def _from_bunch(bunch: Bunch) -> Split:
    if bunch.y is None or not {"train", "test"} <= bunch.split.keys():
        raise ValueError(f"{bunch.meta.name} has no targets or no splits 'train' and 'test': a comparison needs both")
    parts = [torch.as_tensor(array) for name in ("train", "test") for array in bunch.part(name)]
    highest = float(bunch.meta.details.get("highest", 255))
    x_train, x_test = (as_images(part, highest) if part.ndim == 4 else part for part in parts[::2])
    return _checked(ArraySplit(x_train, parts[1], x_test, parts[3]))


def _from_loader(loader: Iterable[Any], seed: int) -> Split:
    """One loader, read once: pairs of tensors become arrays that can be cut anew, other batches stay as they are."""
    read = list(islice(loader, 100_000))
    if not read:
        raise ValueError("the data yields no batch: give at least one")
    pairs = [batch for batch in read if isinstance(batch, (tuple, list)) and len(batch) == 2]
    if len(pairs) == len(read) and _stackable(pairs):
        x, y = (torch.cat([pair[side] for pair in pairs]) for side in (0, 1))
        return _held_out(x, y, seed=seed)
    for batch in read:
        inputs_of(batch)
    if len(read) < 2:
        raise ValueError("the data yields one batch of its own shape: give two loaders (train, test)")
    judged = max(1, len(read) // _HELD_OUT)
    return BatchSplit(read[:-judged], read[-judged:])


def _stackable(pairs: list[Any]) -> bool:
    shapes = {(tuple(x.shape[1:]), tuple(y.shape[1:])) for x, y in pairs if isinstance(x, Tensor) and x.ndim}
    return len(shapes) == 1 and all(isinstance(each, Tensor) for pair in pairs for each in pair)


def _held_out(X: Tensor, y: Tensor, *, seed: int) -> Split:
    if len(X) != len(y):
        raise ValueError(f"X has {len(X)} samples and y has {len(y)}: they must be equally many")
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(X)))
    judged, trained = order[: len(X) // _HELD_OUT], order[len(X) // _HELD_OUT :]
    return _checked(ArraySplit(X[trained], y[trained], X[judged], y[judged]))


def _checked(split: ArraySplit) -> ArraySplit:
    for side in ("train", "test"):
        x, y = getattr(split, f"x_{side}"), getattr(split, f"y_{side}")
        if len(x) != len(y) or len(x) == 0:
            raise ValueError(
                f"the {side} part has {len(x)} inputs and {len(y)} targets: equally many, and some, are wanted"
            )
    return split


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, (tuple, list)) else ()
    return [tensor for each in inner for tensor in _tensors(each)]


def _digest(tensors: list[Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
