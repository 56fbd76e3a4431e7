"""One training loop for every room, on Lightning Fabric: device, precision and DDP by flag, checkpoint, resume."""

import os
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from normkit.data.files import atomic
from normkit.training import checkpoint as checkpoints
from normkit.training import randomness
from normkit.training.batch import Forward, call
from normkit.training.checkpoint import Progress
from normkit.training.interrupt import Interrupt, deferred
from normkit.training.loss import Loss, cross_entropy
from normkit.training.schedule import Schedule
from normkit.training.stream import length_of, stream

__all__ = ["Callback", "History", "fit"]

Callback = Callable[[int, float, nn.Module], None]
"""`callback(step, loss, model)` after each step, step = 0, 1, …; the model is the user's own, without wrappers."""

SAVE_SECONDS = 60.0
"""A checkpoint is at most this old when the machine stops."""


@dataclass
class History:
    """What a run did: `losses[i]` is the training loss of step i, `seconds` the wall time of this call alone.

    `resumed_from` is the number of steps that a checkpoint had already done, or None.
    """

    losses: list[float] = field(default_factory=list)
    steps: int = 0
    seconds: float = 0.0
    resumed_from: int | None = None


def fit(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    loss: Loss | None = None,
    forward: Forward | None = None,
    optimizer: Callable[[list[nn.Parameter]], Optimizer] | None = None,
    schedule: Schedule | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    clip: float | None = None,
    accelerator: str | None = None,
    devices: int | list[int] | str = 1,
    strategy: str = "auto",
    precision: str = "32-true",
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = True,
    progress: bool | str = False,
    callback: Callback | None = None,
) -> History:
    """Train `model` in place for `steps` steps or `epochs` passes over `batches`.

    Args:
        model: any module; its mode is set to train and left so.
        batches: a DataLoader or another iterable of batches; passed over again until the steps are done.
        loss: `loss(output, batch)` -> scalar; default: the model's own where it returns one, else cross entropy.
        forward: `forward(model, batch)` -> output, for models that do not take their batch as `training.call` gives it.
        optimizer: called with the list of trainable parameters; default AdamW(lr=1e-3).
        schedule: `schedule(step, total)` -> factor on each group's learning rate, such as `warmup_cosine()`.
        steps: how many optimiser steps in all (give this or `epochs`; default one epoch).
        epochs: how many passes over `batches`.
        clip: the largest global gradient norm, or None.
        accelerator: None trains where the model lies; else Fabric's names ("cpu", "cuda", "auto", …).
        devices: how many processes, or which devices, as Fabric takes them.
        strategy: "auto", "ddp", "ddp_spawn", "fsdp", … as Fabric takes them.
        precision: "32-true", "bf16-mixed", "16-mixed", "64-true", … as Fabric takes them. "32-true" leaves the model's
            own dtype.
        seed: of all that is drawn here (dropout, the order of a loader without a generator of its own). The global
            random state of the caller is given back afterwards.
        checkpoint: a file that holds the state of the run: written at least every minute, at the end and on Ctrl-C.
        resume: continue from `checkpoint` where it exists; the result is that of an uninterrupted run, bit for bit on
            one device. False starts anew and overwrites it.
        progress: True or a label shows a bar on stderr.
        callback: called after each step with (step, loss, model).

    Raises:
        ValueError: no batch, nothing to train, both or neither sensible budget, a label out of range, or a checkpoint
            that is damaged or of another model.
        FloatingPointError: the loss is NaN or infinite; the message names the step.
        KeyboardInterrupt: Ctrl-C, after the step in progress and the checkpoint are done.
        OSError: the checkpoint's folder cannot be written (found out before the first step).
    """
    total = _total_steps(batches, steps, epochs)
    if checkpoint is not None:
        _check_checkpoint(checkpoint, strategy)
    run = _Run(model, loss or cross_entropy, forward, clip, schedule, total, callback)
    fabric = _fabric(model, accelerator, devices, strategy, precision)
    with _own_randomness(seed + fabric.global_rank):
        run.prepare(fabric, optimizer or _adamw)
        loader = _distribute(fabric, batches)
        resumed_from = run.resume(checkpoint) if checkpoint is not None and resume else None
        start = monotonic()
        with deferred() if checkpoint is not None else nullcontext(Interrupt()) as interrupt:
            run.train(loader, checkpoint, interrupt, _label(progress, fabric))
    done = run.progress
    return History(list(done.losses), done.step, monotonic() - start, resumed_from)


@dataclass
class _Run:
    """One run: what it optimises and how far it has come."""

    model: nn.Module
    loss: Loss
    forward: Forward | None
    clip: float | None
    schedule: Schedule | None
    total: int
    callback: Callback | None
    progress: Progress = field(default_factory=Progress)

    def prepare(self, fabric: Fabric, optimizer: Callable[[list[nn.Parameter]], Optimizer]) -> None:
        trainable = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        if not trainable:
            raise ValueError("the model has no parameter that requires a gradient: there is nothing to train")
        self.fabric = fabric
        self.optimizer = optimizer(trainable)
        self.progress.base_rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.wrapped, self.stepper = fabric.setup(self.model, self.optimizer)
        self.wrapped.train()

    def resume(self, path: str | os.PathLike[str]) -> int | None:
        if not Path(path).exists():
            return None
        self.progress = checkpoints.restore(path, self.model, self.optimizer)
        return self.progress.step

    def train(self, loader: Any, path: str | os.PathLike[str] | None, interrupt: Interrupt, label: str | None) -> None:
        saved = monotonic()
        whole = True  # False while a step is half done and the weights are no state to keep
        source = stream(loader, self.progress)
        try:
            with _bar(label, self.total) as advance:
                advance(self.progress.step)
                while self.progress.step < self.total:
                    batch = self.fabric.to_device(next(source))
                    whole = False
                    loss = self.step(batch)
                    whole = True
                    self.report(loss)
                    advance(self.progress.step)
                    interrupt.check()
                    if path is not None and monotonic() - saved > SAVE_SECONDS:
                        self.save(path, loader)
                        saved = monotonic()
        except KeyboardInterrupt:
            if path is not None and whole and self.progress.step:
                self.save(path, loader)
            raise
        if path is not None:
            self.save(path, loader)

    def step(self, batch: Any) -> float:
        index = self.progress.step
        if self.schedule is not None:
            factor = self.schedule(index, self.total)
            for group, rate in zip(self.optimizer.param_groups, self.progress.base_rates, strict=True):
                group["lr"] = rate * factor
        self.stepper.zero_grad()
        loss = self.loss(call(self.wrapped, batch, self.forward), batch)
        value = _finite(loss, index)
        self.fabric.backward(loss)
        if self.clip is not None:
            self.fabric.clip_gradients(self.wrapped, self.stepper, max_norm=self.clip, error_if_nonfinite=False)
        self.stepper.step()
        self.progress.losses.append(value)
        self.progress.step = index + 1
        return value

    def report(self, loss: float) -> None:
        if self.callback is not None:
            self.callback(self.progress.step - 1, loss, self.model)

    def save(self, path: str | os.PathLike[str], loader: Any) -> None:
        self.progress.rng = randomness.snapshot(loader)
        if self.fabric.is_global_zero:
            checkpoints.write(path, self.model, self.optimizer, self.progress)


def _total_steps(batches: Iterable[Any], steps: int | None, epochs: int | None) -> int:
    if steps is not None and epochs is not None:
        raise ValueError(f"steps={steps} and epochs={epochs} were both given: give one of them")
    length = length_of(batches)
    if steps is None and length is None:
        raise ValueError("the data does not know its length, so an epoch is no number of steps: pass steps=")
    total = steps if steps is not None else (1 if epochs is None else epochs) * (length or 0)
    if total < 1:
        raise ValueError(f"the budget is {total} steps: it must be at least 1")
    return total


def _check_checkpoint(path: str | os.PathLike[str], strategy: str) -> None:
    """What would stop the run from saving is said before it starts."""
    if "fsdp" in strategy or "deepspeed" in strategy:
        raise ValueError(
            f"strategy {strategy!r} spreads the weights over processes, and a checkpoint here is one file: "
            "use strategy='ddp', or checkpoint=None and the strategy's own format"
        )
    try:
        with atomic(path):
            raise _Probed
    except _Probed:
        return


class _Probed(Exception):  # noqa: N818 - no error: it takes the trial file away again
    """Leaves `atomic` after a trial, so that nothing is written."""


def _fabric(
    model: nn.Module, accelerator: str | None, devices: int | list[int] | str, strategy: str, precision: str
) -> Fabric:
    if accelerator is None:
        device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        accelerator = device.type
        if device.type == "cuda" and devices == 1:
            devices = [device.index or 0]
    fabric = Fabric(accelerator=accelerator, devices=devices, strategy=strategy, precision=precision)
    if fabric.world_size > 1:
        fabric.launch()
    return fabric


def _distribute(fabric: Fabric, batches: Iterable[Any]) -> Any:
    """Under several processes each gets its own share of the data."""
    if fabric.world_size == 1:
        return batches
    if not isinstance(batches, DataLoader):
        raise ValueError(
            f"{fabric.world_size} processes need a DataLoader, whose samples can be shared out; "
            f"a {type(batches).__name__} came"
        )
    return fabric.setup_dataloaders(batches, move_to_device=False)


@contextmanager
def _own_randomness(seed: int) -> Iterator[None]:
    """Everything drawn inside follows from `seed`; outside nothing has moved."""
    python = random.getstate()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)


def _finite(loss: Tensor, step: int) -> float:
    if loss.ndim:
        raise ValueError(f"the loss has shape {tuple(loss.shape)}: it must be a scalar (take its mean)")
    value = loss.item()
    if value != value or value in (float("inf"), float("-inf")):
        raise FloatingPointError(
            f"the loss is {value} at step {step}: lower the learning rate, clip gradients (clip=1.0), "
            "or look for what grows with normkit.diagnose"
        )
    return value


def _adamw(parameters: list[nn.Parameter]) -> Optimizer:
    return torch.optim.AdamW(parameters, lr=1e-3)


def _label(progress: bool | str, fabric: Fabric) -> str | None:
    if not progress or not fabric.is_global_zero:
        return None
    return progress if isinstance(progress, str) else "training"


@contextmanager
def _bar(label: str | None, total: int) -> Iterator[Callable[[int], None]]:
    if label is None:
        yield lambda step: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda step: bar.update(task, completed=step)
