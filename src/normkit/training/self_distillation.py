"""Self-distillation of networks: round after round a fresh student learns from the last one and the ground truth.

    L_τ = α_τ · D(f, y) + (1 − α_τ) · D(f, f_{τ−1}) + reg · Σ_p ‖p‖₂        (the norms are plain, not squared)

The teacher is frozen and in eval mode (its dropout is off, its running statistics do not move), and sees the very batch
that the student sees. α of a round is given, or estimated with one training in place of a grid of them: train the
round's α = 0 student, take the student as affine in α, f = α f₁ + (1 − α) f₀, and put both on validation data into
`normkit.losses.optimal_alpha`.

Source: Borup and Andersen (2021), Even your Teacher Needs Guidance, arXiv:2102.13088, the experiments and their code.
"""

import json
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from normkit.data import writable_folder, write_atomically
from normkit.losses.distillation import KINDS, ground_truth_share
from normkit.training.batch import Forward
from normkit.training.distillation import DistillationLoss, estimate_alpha
from normkit.training.evaluate import accuracy, mean_loss
from normkit.training.loop import fit

__all__ = ["DistilledRound", "SelfDistillation", "self_distill"]

SETTINGS = "self-distillation.json"
"""What a run was asked for, beside its checkpoints: another run does not go on in its place."""


@dataclass(frozen=True)
class DistilledRound:
    """What one round gave.

    `val_loss` is the distance of the student to the ground truth on the validation data (α = 1, without the norms),
    `accuracy` a share, `trainings` how many networks were trained for the round, `seconds` their wall time.
    """

    alpha: float
    val_loss: float
    accuracy: float
    trainings: int
    seconds: float


@dataclass(frozen=True)
class SelfDistillation:
    """The students of all rounds, the first model among them, and what each round gave."""

    models: list[nn.Module] = field(default_factory=list)
    rounds: list[DistilledRound] = field(default_factory=list)

    @property
    def model(self) -> nn.Module:
        """The last round's student."""
        return self.models[-1]

    @property
    def best(self) -> nn.Module:
        """The student with the smallest validation loss."""
        return min(zip(self.models, self.rounds, strict=True), key=lambda pair: pair[1].val_loss)[0]

    @property
    def trainings(self) -> int:
        """How many networks were trained in all."""
        return sum(each.trainings for each in self.rounds)


def self_distill(
    make_model: Callable[[], nn.Module],
    train_loader: Iterable[Any],
    val_loader: Iterable[Any],
    rounds: int = 3,
    alpha: float | str = "estimate",
    loss: str = "mse-softmax",
    temperature: float = 1.0,
    *,
    ground_truth_weight: float | str | None = None,
    regularization: float = 1e-4,
    forward: Forward | None = None,
    optimizer: Callable[[list[nn.Parameter]], Optimizer] | None = None,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    **options: Any,
) -> SelfDistillation:
    """Train a network, then `rounds` − 1 students of it, each from the one before.

    Augment in `train_loader`, not in `forward`: the teacher must see the batch that the student sees.

    Args:
        make_model: builds a fresh network; called once a training, under a seed of its own.
        train_loader: batches (inputs, class numbers or probabilities). A generator of the loader's own is seeded anew
            for each training.
        val_loader: batches with labels that no training sees; its order does not matter.
        rounds: how many rounds, the first model being round 1.
        alpha: the weight of the ground truth in every round, or "estimate": found on the validation data with one
            training more a round.
        loss: "mse-softmax" or "ce-kl", the kinds of `normkit.losses.distillation_loss`.
        temperature: of the teacher's part of the loss.
        ground_truth_weight: `alpha` under the name that cannot be mistaken.
        regularization: factor of the sum of the parameters' norms.
        forward: as `training.fit` takes it.
        optimizer: as `training.fit` takes it; default Adam(lr=1e-3).
        seed: of the networks, the order of the data and all else that is drawn.
        out: a folder for the state of each training; a run that was stopped goes on from there to the same result.
            Numbers and strings that were passed must be the same; that data, model and optimizer are is not checked.
        options: anything else that `training.fit` takes (epochs, steps, schedule, precision, devices, callback, …).

    Raises:
        ValueError: fewer than one round, an α outside [0, 1] or given twice, an unknown loss, a temperature or
            regularization out of its range, no validation data or too few of them for an estimate, a folder of a run
            with other settings, or what `training.fit` finds wrong.
        TypeError: an option that is set here (`checkpoint`).
    """
    share = _share(alpha, ground_truth_weight)
    _check(rounds, loss, temperature, regularization, options)
    if out is not None:
        settings = {
            "alpha": "estimate" if share is None else share,
            "loss": loss,
            "temperature": temperature,
            "regularization": regularization,
            "seed": seed,
        }
        plain = {name: value for name, value in options.items() if isinstance(value, (int, float, str))}
        _claim(Path(out), settings | plain)
    work = _Work(make_model, train_loader, loss, temperature, regularization, forward, optimizer, seed, out, options)
    done = SelfDistillation()
    for number in range(1, rounds + 1):
        start, before = monotonic(), work.trainings
        student, weight = _round(work, done, number, share, val_loader)
        done.models.append(student)
        truth = DistillationLoss(None, kind=loss)
        done.rounds.append(
            DistilledRound(
                weight,
                mean_loss(student, val_loader, loss=truth, forward=forward),
                accuracy(student, val_loader, forward=forward),
                work.trainings - before,
                monotonic() - start,
            )
        )
    return done


@dataclass
class _Work:
    """What every training of a run shares."""

    make_model: Callable[[], nn.Module]
    loader: Iterable[Any]
    kind: str
    temperature: float
    regularization: float
    forward: Forward | None
    optimizer: Callable[[list[nn.Parameter]], Optimizer] | None
    seed: int
    out: str | os.PathLike[str] | None
    options: dict[str, Any]
    trainings: int = 0

    def train(self, teacher: nn.Module | None, alpha: float, name: str) -> nn.Module:
        """A fresh student of `teacher`. Seeds follow from the number of the training: a resumed run counts alike."""
        seed = self.seed + self.trainings
        self.trainings += 1
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            student = self.make_model()
        if isinstance(generator := getattr(self.loader, "generator", None), torch.Generator):
            generator.manual_seed(seed)
        fit(
            student,
            self.loader,
            loss=DistillationLoss(
                teacher, alpha, self.kind, self.temperature, student, self.regularization, self.forward
            ),
            forward=self.forward,
            optimizer=self.optimizer or _adam,
            seed=seed,
            checkpoint=None if self.out is None else Path(self.out) / f"{name}.safetensors",
            **self.options,
        )
        return student


def _round(
    work: _Work, done: SelfDistillation, number: int, share: float | None, val_loader: Iterable[Any]
) -> tuple[nn.Module, float]:
    """The student of a round and its α."""
    if number == 1:
        return work.train(None, 1.0, "round-1"), 1.0
    teacher = done.models[-1]
    if share is not None:
        return work.train(teacher, share, f"round-{number}"), share
    zero = work.train(teacher, 0.0, f"round-{number}-zero")
    weight = estimate_alpha(done.models[0], zero, val_loader, forward=work.forward)
    if weight == 0:  # it has just been trained
        return zero, weight
    return work.train(teacher, weight, f"round-{number}"), weight


def _share(alpha: Any, ground_truth_weight: Any) -> float | None:
    """α as a number, or None where it is to be estimated."""
    if ground_truth_weight is not None and not (isinstance(alpha, str) and alpha == "estimate"):
        raise ValueError("alpha and ground_truth_weight are two names of one weight: give one of them")
    given = alpha if ground_truth_weight is None else ground_truth_weight
    if isinstance(given, str) and given == "estimate":
        return None
    if isinstance(given, bool) or not isinstance(given, Real):
        raise ValueError(f"alpha is {given!r}: it must be a number from 0 to 1 or 'estimate'")
    return ground_truth_share(float(given), None)


def _check(rounds: Any, loss: Any, temperature: Any, regularization: Any, options: dict[str, Any]) -> None:
    if isinstance(rounds, bool) or not isinstance(rounds, Integral) or rounds < 1:
        raise ValueError(f"rounds is {rounds!r}: it must be a whole number of at least 1 (the first model)")
    if not (_is_number(temperature) and temperature > 0):
        raise ValueError(f"temperature is {temperature!r}: it must be a finite number above 0")
    if not (_is_number(regularization) and regularization >= 0):
        raise ValueError(f"regularization is {regularization!r}: it must be a finite number of at least 0")
    if loss not in KINDS:
        raise ValueError(f"loss is {loss!r}: it must be one of {', '.join(KINDS)}")
    if taken := sorted({"checkpoint", "model", "batches"} & options.keys()):
        raise TypeError(f"self_distill sets {', '.join(taken)} itself: for checkpoints pass out=FOLDER")


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)


def _claim(folder: Path, settings: dict[str, Any]) -> None:
    """Say in the folder what its checkpoints belong to, or that they belong to a run with other settings."""
    path = writable_folder(folder, force=True) / SETTINGS
    if not path.exists():
        write_atomically(path, json.dumps(settings, indent=1))
        return
    found = json.loads(path.read_text(encoding="utf-8"))
    names = [*settings, *(name for name in found if name not in settings)]  # an option left out differs too
    if other := [f"{name} was {found.get(name)!r}" for name in names if found.get(name) != settings.get(name)]:
        raise ValueError(
            f"{folder} holds a run with other settings ({', '.join(other)}): pass these, or another folder"
        )


def _adam(parameters: list[nn.Parameter]) -> Optimizer:
    return torch.optim.Adam(parameters, lr=1e-3)
