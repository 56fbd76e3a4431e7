"""How good a classifier is, measured without changing it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from normkit.training.batch import Forward, call, output_tensor, targets_of
from normkit.training.loss import Loss, cross_entropy

__all__ = ["accuracy", "evaluating", "mean_loss"]

CHUNK = 512
"""Samples a forward pass where whole tensors are given."""


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients inside; afterwards every module is in the mode that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def accuracy(
    model: nn.Module, x: Tensor | Iterable[Any], y: Tensor | None = None, *, forward: Forward | None = None
) -> float:
    """Share of targets that are the class of the largest logit, in eval mode.

    Args:
        model: logits (N, C), or (N, …, C) for targets (N, …).
        x: inputs (N, …) with their labels `y` (N, …), or a loader of batches (then `y` stays None).
        y: labels, or None.
        forward: `forward(model, batch)` for batches of other shapes.

    Raises:
        ValueError: no batch, or a batch without targets.
    """
    right = count = 0
    with evaluating(model):
        for batch in _batches(model, x, y):
            target = targets_of(batch)
            if target is None:
                raise ValueError("the batches hold no targets: accuracy needs pairs (inputs, targets)")
            logits = output_tensor(call(model, batch, forward))
            right += int((_predicted(logits, target) == target).sum())
            count += target.numel()
    if count == 0:
        raise ValueError("there is no sample to judge: the data yields nothing")
    return right / count


def mean_loss(
    model: nn.Module,
    x: Tensor | Iterable[Any],
    y: Tensor | None = None,
    *,
    loss: Loss | None = None,
    forward: Forward | None = None,
) -> float:
    """Mean over the batches, weighted by their length, of `loss(output, batch)` (default cross entropy), in eval mode.

    Raises:
        ValueError: no batch.
    """
    measure = loss or cross_entropy
    total, count = 0.0, 0
    with evaluating(model):
        for batch in _batches(model, x, y):
            target = targets_of(batch)
            size = 1 if target is None else len(target)
            total += size * float(measure(call(model, batch, forward), batch))
            count += size
    if count == 0:
        raise ValueError("there is no sample to judge: the data yields nothing")
    return total / count


def _predicted(logits: Tensor, target: Tensor) -> Tensor:
    if logits.shape[:-1] == target.shape:
        return logits.argmax(-1)
    if logits.ndim >= 2 and logits.shape[:1] + logits.shape[2:] == target.shape:
        return logits.argmax(1)
    raise ValueError(f"the output is {tuple(logits.shape)} and the targets are {tuple(target.shape)}: they do not fit")


def _batches(model: nn.Module, x: Tensor | Iterable[Any], y: Tensor | None) -> Iterator[Any]:
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    if y is None:
        return (_moved(batch, device) for batch in x)
    assert isinstance(x, Tensor)
    parts = zip(x.split(CHUNK), y.split(CHUNK), strict=True)
    return ((a.to(device), b.to(device)) for a, b in parts)


def _moved(batch: Any, device: torch.device) -> Any:
    from lightning_fabric.utilities.apply_func import move_data_to_device

    return move_data_to_device(batch, device)
