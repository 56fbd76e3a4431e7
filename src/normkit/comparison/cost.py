"""What a training step costs under each method: seconds, and bytes held at its turning point.

Seconds are measured interleaved (`normkit.benchmarks.interleaved`): whole steps of all methods, forward, backward and
optimiser, in rounds of random order, after all runs are done and nothing else runs.

Bytes are counted at the end of the forward pass, where a step holds most: parameters and buffers, one gradient for
each trained parameter, and every distinct storage that autograd saved for the backward pass. That is a lower bound of
the peak, the same on every machine, and free of the allocator's slack; temporary buffers inside an operation and the
optimiser's state are not in it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from normkit.benchmarks import interleaved
from normkit.training import Forward, Loss, call

__all__ = ["Step", "held_bytes", "step_seconds"]


@dataclass
class Step:
    """One training step on one batch, ready to be called again and again."""

    model: nn.Module
    batch: Any
    optimizer: Optimizer
    loss: Loss
    forward: Forward | None

    def __call__(self) -> None:
        """Forward, backward and the optimiser's step."""
        self.optimizer.zero_grad()
        self.forward_loss().backward()
        self.optimizer.step()

    def forward_loss(self) -> Tensor:
        """The loss, with its graph."""
        return self.loss(call(self.model, self.batch, self.forward), self.batch)


def step_seconds(steps: dict[str, Callable[[], None]], *, rounds: int = 9, seed: int = 0) -> dict[str, float]:
    """Median seconds of a step of each method."""
    timings = interleaved(steps, rounds=rounds, seed=seed)
    return {name: timings[name].median for name in steps}


def held_bytes(step: Step) -> int:
    """Bytes alive at the end of the forward pass (see the module's text)."""
    storages: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # an output kept as it is would hold the graph that holds it

    for tensor in (*step.model.parameters(), *step.model.buffers()):
        note(tensor)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = step.forward_loss()
    held = sum(storages.values())
    del loss  # the graph kept the storages alive until here, so that no address was used twice
    gradients = (p for p in step.model.parameters() if p.requires_grad)
    return held + sum(p.numel() * p.element_size() for p in gradients)
