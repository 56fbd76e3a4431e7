"""What candidates are trained and judged on."""

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from normkit import data, training
from normkit.search.architectures import Architecture, Layer
from normkit.search.protocol import Protocol

__all__ = ["Task"]

_JUDGED = 1000
"""Images a batch when judging, at most: a map of theirs for every node of a graph must fit the memory."""


@dataclass(frozen=True)
class Task:
    """Images (N, C, H, W) with labels (N,), for training and for judging, and where to compute.

    Raises:
        ValueError: images that are not (N, C, H, W) or not finite, those for judging of another size than those for
            training, labels that are not as many whole numbers from 0, or no image.
    """

    x_train: NDArray[Any]
    y_train: NDArray[Any]
    x_val: NDArray[Any]
    y_val: NDArray[Any]
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name, x, y in (("train", self.x_train, self.y_train), ("val", self.x_val, self.y_val)):
            _check(name, x, y)
        if self.x_train.shape[1:] != self.x_val.shape[1:]:
            raise ValueError(
                f"train has images (channels, height, width) = {self.x_train.shape[1:]} and val "
                f"{self.x_val.shape[1:]}: they must be alike"
            )

    @staticmethod
    def of(train: Any, val: Any, device: str = "cpu") -> "Task":
        """From pairs (images, labels) of arrays or tensors."""
        (x, y), (x_val, y_val) = train, val
        images = (np.asarray(torch.as_tensor(each).float()) for each in (x, x_val))
        labels = (np.asarray(_whole(name, torch.as_tensor(each))) for name, each in (("train", y), ("val", y_val)))
        x, x_val = images
        y, y_val = labels
        return Task(x, y, x_val, y_val, device)

    @staticmethod
    def held_out(x: Any, y: Any, *, seed: int = 0, device: str = "cpu") -> "Task":
        """From images and labels of which a fifth, at most 1000, is drawn by `seed` for judging.

        Raises:
            ValueError: fewer than five images, or a seed below 0.
        """
        if seed < 0:
            raise ValueError(f"seed is {seed}: it must be 0 or more")
        if len(x) < 5:
            raise ValueError(f"{len(x)} images: five at least are needed, of which one is kept for judging")
        order = np.random.default_rng(seed).permutation(len(x))
        images, labels = np.asarray(x), np.asarray(y)
        judged = min(len(x) // 5, _JUDGED)
        val, train = order[:judged], order[judged:]
        return Task.of((images[train], labels[train]), (images[val], labels[val]), device)

    @property
    def train(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Images and labels for training."""
        return self.x_train, self.y_train

    @property
    def val(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Images and labels for judging."""
        return self.x_val, self.y_val

    @cached_property
    def num_classes(self) -> int:
        """One more than the largest label."""
        return int(max(self.y_train.max(), self.y_val.max())) + 1

    @property
    def chance(self) -> float:
        """The accuracy of guessing among classes of equal size."""
        return 1 / self.num_classes

    @property
    def chance_loss(self) -> float:
        """The cross entropy of guessing: ln(number of classes)."""
        return math.log(self.num_classes)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all values, shortened."""
        digest = hashlib.sha256()
        for array in (self.x_train, self.y_train, self.x_val, self.y_val):
            digest.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    def first(self, count: int) -> tuple[Tensor, Tensor]:
        """The first training samples."""
        pair = torch.tensor(self.x_train[:count]), torch.tensor(self.y_train[:count])
        return pair[0].to(self.device), pair[1].to(self.device)

    @contextmanager
    def own_randomness(self) -> Iterator[None]:
        """One torch thread, and the caller's random state and thread count as before afterwards."""
        threads = torch.get_num_threads()
        devices = [self.device] if torch.device(self.device).type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.set_num_threads(1)
            try:
                yield
            finally:
                torch.set_num_threads(threads)

    def network(self, architecture: Architecture, layer: Layer, seed: int) -> nn.Module:
        """A fresh network whose weights follow from `seed`."""
        torch.manual_seed(seed)
        network = architecture(layer, in_channels=self.x_train.shape[1], num_classes=self.num_classes)
        return network.to(self.device)

    def accuracy(
        self,
        architecture: Architecture,
        layer: Layer,
        protocol: Protocol,
        seed: int,
        callback: training.Callback | None = None,
    ) -> float:
        """Train a fresh network; its accuracy, with the statistics of the batch that is judged. 0 where it diverges."""
        network = self.network(architecture, layer, seed)
        x, y = torch.tensor(self.x_train), torch.tensor(self.y_train)
        loader = data.batches(x, y, protocol.batch_size, seed=seed, drop_last=len(x) >= protocol.batch_size)
        try:
            training.fit(
                network,
                loader,
                steps=protocol.steps,
                optimizer=partial(torch.optim.SGD, lr=protocol.lr, momentum=0.9, nesterov=True),
                schedule=training.warmup_cosine(min(protocol.warmup / protocol.steps, 0.5)),
                seed=seed,
                callback=callback,
            )
        except FloatingPointError:
            return 0.0
        return self._judge(network)

    def _judge(self, network: nn.Module) -> float:
        right = 0
        with torch.no_grad():
            for start in range(0, len(self.x_val), _JUDGED):
                images = torch.tensor(self.x_val[start : start + _JUDGED]).to(self.device)
                labels = torch.tensor(self.y_val[start : start + _JUDGED]).to(self.device)
                logits = network.train()(images)
                right += int((logits.isfinite().all(1) & (logits.argmax(1) == labels)).sum())
        return right / len(self.x_val)


def _check(name: str, x: NDArray[Any], y: NDArray[Any]) -> None:
    if x.ndim != 4 or len(x) == 0:
        raise ValueError(f"{name}: images must be (N, channels, height, width), got the shape {x.shape}")
    broken = int((~np.isfinite(x)).any((1, 2, 3)).sum())
    if broken:
        raise ValueError(f"{name}: {broken} of {len(x)} images hold NaN or inf: leave them out or repair them")
    if y.shape != x.shape[:1]:
        raise ValueError(f"{name}: {len(x)} images need as many labels; got the shape {y.shape}")
    if y.dtype.kind not in "iu" or y.min() < 0:
        raise ValueError(f"{name}: labels must be whole numbers 0, 1, …; got {y.dtype}, the least {y.min()}")


def _whole(name: str, labels: Tensor) -> Tensor:
    """Labels as int64, which a fraction would silently become as well."""
    whole = labels.long()
    if not torch.equal(whole.to(labels.dtype), labels):
        first = labels[whole.to(labels.dtype) != labels][0]
        raise ValueError(f"{name}: labels must be whole numbers 0, 1, …; got {first.item():.4g} among them")
    return whole
