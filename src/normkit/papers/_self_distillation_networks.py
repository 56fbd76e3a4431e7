"""Self-distilled networks: what the runs of the paper train."""

from collections.abc import Iterator
from typing import Any

import torch

from normkit import data, training
from normkit.models import MLP, cifar_resnet
from normkit.papers._self_distillation_ridge import noisy_digits

__all__ = ["cifar10_networks", "digits_networks"]


def digits_networks(seed: int, train: int = 900, epochs: int = 40) -> list[dict[str, Any]]:
    """Digits with 40 % of the labels drawn at random, a net of 256 hidden units, two rounds after the first model."""
    digits = noisy_digits(seed, 0.4, train=train)
    loaders = [_loader(*part, seed=seed) for part in (digits.train, digits.val, digits.test)]
    run = training.self_distill(
        lambda: MLP((64, 256, 10)), loaders[0], loaders[1], rounds=3, epochs=epochs, seed=1000 * seed
    )
    return _rows(run, loaders[2])


def cifar10_networks(seed: int) -> list[dict[str, Any]]:
    """The paper's own: a residual net on CIFAR-10, 75 epochs a training, a tenth of the images for validation."""
    bunch = data.load("cifar10")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    (x, y), test = ((data.as_images(x), torch.as_tensor(y)) for x, y in (bunch.part("train"), bunch.part("test")))
    cut = len(x) * 9 // 10
    run = training.self_distill(
        lambda: cifar_resnet(32).to(device),
        _Augmented(data.batches(x[:cut], y[:cut], 128, seed=seed, drop_last=True)),
        data.batches(x[cut:], y[cut:], 512, shuffle=False),
        rounds=4,
        epochs=75,
        seed=1000 * seed,
        schedule=training.warmup_cosine(0.02),
    )
    return _rows(run, data.batches(*test, 512, shuffle=False))


def _rows(run: training.SelfDistillation, test: Any) -> list[dict[str, Any]]:
    return [
        {
            "round": number,
            "alpha": each.alpha,
            "trainings": each.trainings,
            "val_loss": each.val_loss,
            "test": 100 * training.accuracy(model, test),
        }
        for number, (each, model) in enumerate(zip(run.rounds, run.models, strict=True), start=1)
    ]


def _loader(x: Any, y: Any, seed: int) -> Any:
    return data.batches(torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(y), 64, seed=seed)


class _Augmented:
    """Batches cropped and mirrored at random, before teacher and student see them."""

    def __init__(self, loader: Any) -> None:
        self.loader, self.generator = loader, loader.generator

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        return ((data.crop_and_flip(x), y) for x, y in self.loader)
