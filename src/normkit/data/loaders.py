"""From arrays to batches: loaders that a training loop, a probe and a conversion all take."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from normkit.data.catalogue import load

__all__ = ["TextWindows", "batches", "character_split", "characters", "digits", "text", "text_batches", "words"]

_SCALES = {
    "symmetric": lambda image: image / 8 - 1,  # 0…16 -> -1…1
    "unit": lambda image: image / 16,  # 0…1
    "shifted": lambda image: image / 16 - 0.3,  # near mean zero, as the small architecture search takes it
    "raw": lambda image: image,
}


class _Arrays(Dataset[tuple[Tensor, Tensor]]):
    """Two tensors of equal length; a batch is one indexing of each, not a stack of single samples."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.x[index], self.y[index]

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        chosen = torch.as_tensor(indices)
        return self.x[chosen], self.y[chosen]


def _as_is(batch: Any) -> Any:
    return batch


def batches(
    X: NDArray[Any] | Tensor,
    y: NDArray[Any] | Tensor,
    batch_size: int,
    *,
    shuffle: bool = True,
    seed: int = 0,
    drop_last: bool = False,
) -> DataLoader[tuple[Tensor, Tensor]]:
    """A loader of batches (x, y) of `X` (N, …) and `y` (N, …); the order of every epoch follows from `seed`.

    Raises:
        ValueError: `X` and `y` differ in length, are empty, or `batch_size` is not positive.
    """
    x, target = torch.as_tensor(X), torch.as_tensor(y)
    if len(x) != len(target):
        raise ValueError(f"X has {len(x)} samples and y has {len(target)}: they must be equally many")
    if len(x) == 0:
        raise ValueError("X holds no sample: a loader needs at least one")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: it must be at least 1")
    return DataLoader(
        _Arrays(x, target),
        batch_size=batch_size,
        shuffle=shuffle,
        drop_last=drop_last,
        collate_fn=_as_is,
        generator=torch.Generator().manual_seed(seed),
    )


def digits(
    scale: str = "symmetric", split_seed: int = 0, train: int = 1297
) -> tuple[Float[Tensor, "train 1 8 8"], Int[Tensor, " train"], Float[Tensor, "test 1 8 8"], Int[Tensor, " test"]]:
    """The embedded digits: x_train (train, 1, 8, 8) float32, y_train, x_test (1797 − train, 1, 8, 8), y_test.

    Args:
        scale: "symmetric" maps 0…16 to −1…1, "unit" to 0…1, "shifted" to −0.3…0.7, "raw" leaves it.
        split_seed: the first `train` of `numpy.random.default_rng(split_seed).permutation(1797)` are the training set.
        train: how many images are for training.

    Raises:
        ValueError: an unknown scale, or no image left for one of the two parts.
    """
    if scale not in _SCALES:
        raise ValueError(f"scale is {scale!r}: it must be one of {', '.join(_SCALES)}")
    bunch = load("digits")
    count = len(bunch.X)
    if not 0 < train < count:
        raise ValueError(f"train is {train}: it must leave images for both parts, so lie between 1 and {count - 1}")
    order = np.random.default_rng(split_seed).permutation(count)
    x = _SCALES[scale](torch.from_numpy(bunch.X[order]).permute(0, 3, 1, 2).float()).contiguous()
    y = torch.as_tensor(bunch.y)[torch.from_numpy(order)]
    return x[:train], y[:train], x[train:], y[train:]


def text(name: str) -> str:
    """The text of a text data set as one string: its documents joined by blank lines, the parts of one text by nothing.

    Raises:
        ValueError: the set holds no text.
    """
    bunch = load(name)
    if bunch.X.dtype != object:
        raise ValueError(f"{name} holds {bunch.X.dtype} arrays, not text")
    return str(bunch.meta.details.get("joined_by", "\n\n")).join(bunch.X)


def characters(content: str, alphabet: str | None = None) -> tuple[Int[Tensor, " length"], str]:
    """Characters as numbers: ids (length,) int64 and the alphabet (by default the sorted characters of the text).

    Raises:
        ValueError: the text holds a character that is not in the alphabet given.
    """
    alphabet = alphabet if alphabet is not None else "".join(sorted(set(content)))
    number = {character: index for index, character in enumerate(alphabet)}
    if strange := sorted(set(content) - set(number)):
        raise ValueError(f"the text holds {strange[0]!r}, which is not in the alphabet of {len(alphabet)} characters")
    return torch.tensor([number[character] for character in content], dtype=torch.int64), alphabet


def character_split(
    name: str = "pydoc-topics", train: float = 0.9
) -> tuple[Int[Tensor, " train"], Int[Tensor, " rest"], str]:
    """A text data set as character ids: the first `train` share of the characters, the rest, and the alphabet of both.

    The cut goes through the running text, whatever documents it is made of.

    Raises:
        ValueError: the set holds no text, or `train` leaves nothing for one of the two parts.
    """
    ids, alphabet = characters(text(name))
    cut = int(train * len(ids))
    if not 0 < cut < len(ids):
        raise ValueError(f"train is {train}: it must lie between 0 and 1 and leave characters for both parts")
    return ids[:cut], ids[cut:], alphabet


def words(content: str, vocabulary: int) -> tuple[Int[Tensor, " length"], list[str]]:
    """Words as numbers: ids (length,) int64 and the `vocabulary` words, the most frequent first.

    A word is a run of non-blank characters with the blanks before it. The last number, whose word is "", stands for
    all words that found no place.

    Raises:
        ValueError: `vocabulary` is not positive, or the text has fewer different words than it wants.
    """
    if vocabulary < 1:
        raise ValueError(f"vocabulary is {vocabulary}: it must be at least 1")
    found = re.findall(r"\s*\S+", content)
    counts = Counter(found)
    if len(counts) < vocabulary - 1:
        raise ValueError(f"the text has {len(counts)} different words: a vocabulary of {vocabulary} needs as many")
    kept = [word for word, _ in counts.most_common(vocabulary - 1)]
    number = {word: index for index, word in enumerate(kept)}
    return torch.tensor([number.get(word, vocabulary - 1) for word in found], dtype=torch.int64), [*kept, ""]


class TextWindows:
    """`steps` batches of random windows of a sequence of tokens: (x, y), both (batch, context) int64, y one ahead of x.

    Every pass over it gives the same batches, which follow from `seed` alone.
    """

    def __init__(self, ids: Int[Tensor, " length"], context: int, batch_size: int, steps: int, seed: int) -> None:
        self.ids, self.context, self.batch_size, self.steps, self.seed = ids, context, batch_size, steps, seed

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(self.seed)
        offsets = torch.arange(self.context + 1)
        for _ in range(self.steps):
            start = torch.randint(len(self.ids) - self.context, (self.batch_size, 1), generator=generator)
            window = self.ids[start + offsets]
            yield window[:, :-1], window[:, 1:]


def text_batches(ids: Int[Tensor, " length"], context: int, batch_size: int, steps: int, seed: int = 0) -> TextWindows:
    """`steps` batches of random windows of `ids` (length,): x, y of shape (batch_size, context), y one token ahead.

    Raises:
        ValueError: the text is not longer than the context, or a count is not positive.
    """
    for name, value in (("context", context), ("batch_size", batch_size), ("steps", steps)):
        if value < 1:
            raise ValueError(f"{name} is {value}: it must be at least 1")
    if len(ids) <= context:
        raise ValueError(f"the text has {len(ids)} tokens: a context of {context} needs at least {context + 1}")
    return TextWindows(ids, context, batch_size, steps, seed)
