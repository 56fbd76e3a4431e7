"""One comparison as data: what is built, on what it is trained, and how a single run goes."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from normkit.comparison.cost import Step
from normkit.comparison.ledger import Run, RunKey
from normkit.comparison.method import Method, apply
from normkit.comparison.split import Split
from normkit.training import (
    Forward,
    Loss,
    accuracy,
    cross_entropy,
    evaluating,
    fit,
    parameter_groups,
    warmup_cosine,
)

__all__ = ["REFERENCE_BATCH", "Experiment", "MakeOptimizer", "Quality", "sgd"]

MakeOptimizer = Callable[[nn.Module, float], Optimizer]
"""`optimizer(model, lr)` for the model as it is trained under a method."""

Quality = Callable[[nn.Module, Any], float]
"""`quality(model, batches)`: a figure that is better when it is larger."""

REFERENCE_BATCH = 32
"""The batch size for which the default learning rates are meant; another size scales them in proportion."""

_TAIL = 25
"""Steps at the end whose mean is a run's training loss."""


def sgd(model: nn.Module, lr: float) -> Optimizer:
    """SGD with momentum 0.9 and weight decay 1e-4 on maps, none on gains and biases."""
    return torch.optim.SGD(parameter_groups(model, 1e-4), lr=lr, momentum=0.9)


@dataclass(frozen=True)
class Experiment:
    """Everything that the runs of a comparison share."""

    build_model: Callable[[], nn.Module]
    split: Split
    methods: dict[str, Method]
    steps: int
    optimizer: MakeOptimizer
    loss: Loss | None
    forward: Forward | None
    quality: Quality | None
    floor: float
    threads: int | None

    def model(self, method: str, seed: int, batch_size: int) -> nn.Module:
        """A fresh network under a method; runs of one seed begin with the same network."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            built = self.build_model()
            if not isinstance(built, nn.Module):
                raise TypeError(f"build_model returned a {type(built).__name__}: it must return a new nn.Module")
            return apply(self.methods[method], built, self.split, batch_size=batch_size, seed=seed)

    def run(self, key: RunKey) -> Run:
        """Train and judge one network."""
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        start = perf_counter()
        model = self.model(key.method, key.seed, key.batch_size)
        rate = scaled(key.lr, key.batch_size)
        try:
            history = fit(
                model,
                self.split.train(key.batch_size, key.seed),
                loss=self.loss,
                forward=self.forward,
                optimizer=lambda parameters: self.optimizer(model, rate),
                schedule=warmup_cosine(),
                steps=self.steps,
                seed=key.seed,
            )
        except FloatingPointError:
            return Run(key, self.floor, None, True, perf_counter() - start)
        quality = self.judge(model)
        diverged = not math.isfinite(quality)
        tail = history.losses[-_TAIL:]
        return Run(key, self.floor if diverged else quality, sum(tail) / len(tail), diverged, perf_counter() - start)

    def judge(self, model: nn.Module) -> float:
        """Quality on held-out data, in eval mode."""
        if self.quality is None:
            return accuracy(model, self.split.test(), forward=self.forward)
        with evaluating(model):
            return float(self.quality(model, self.split.test()))

    def step(self, method: str, batch_size: int, seed: int, lr: float) -> Step:
        """One training step of a method, to be timed and weighed."""
        model = self.model(method, seed, batch_size).train()
        batch = next(iter(self.split.train(batch_size, seed)))
        optimizer = self.optimizer(model, scaled(lr, batch_size))
        return Step(model, batch, optimizer, self.loss or cross_entropy, self.forward)


def scaled(lr: float, batch_size: int) -> float:
    """The rate at a batch size: in proportion (Goyal et al. 2017, arXiv:1706.02677), so that one grid serves all."""
    return lr * batch_size / REFERENCE_BATCH
