"""What a probe may ask of the examination that it is part of."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from normkit.data import Table
from normkit.training import call, inputs_of, output_tensor, targets_of

__all__ = ["Context", "batch_size", "tensor_in"]


def tensor_in(value: Any) -> Tensor | None:
    """The first floating-point tensor in what a module takes or gives: itself, or inside tuples and dicts."""
    if isinstance(value, Tensor):
        return value if value.is_floating_point() else None
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        return next((found for each in value if (found := tensor_in(each)) is not None), None)
    return None


def batch_size(batch: Any) -> int:
    """How many samples a batch holds: the length of its first tensor."""
    inputs = inputs_of(batch)
    tensors = [each for each in inputs.values() if isinstance(each, Tensor)] if isinstance(inputs, dict) else [inputs]
    return len(tensors[0]) if tensors and tensors[0].ndim else 1


@dataclass
class Context:
    """The model under examination and what has been seen of its data so far.

    Attributes:
        model: the model itself: probes read it, and rehearse on copies. An empty module where a table is examined.
        forward, loss, optimizer, reference: as `diagnose` was given them.
        paths: dotted path of every module.
        example: the first batch.
        batch: the batch that the model is running on.
        untrainable: why the model could not be run in training mode, None where it could.
        sizes: samples in each batch seen.
        seed: seed of whatever a probe draws.
        table: the table under examination, in place of a model and its data.
        monitoring: True in a training loop of the user's own: a probe must not call the model then.
    """

    model: nn.Module
    forward: Callable[[nn.Module, Any], Any] | None = None
    loss: Callable[[Any, Any], Tensor] | None = None
    optimizer: Any = None
    reference: Any = None
    seed: int = 0
    table: Table | None = None
    monitoring: bool = False
    example: Any = None
    batch: Any = None
    untrainable: str | None = None
    sizes: list[int] = field(default_factory=list)
    paths: dict[nn.Module, str] = field(init=False)

    def __post_init__(self) -> None:
        self.paths = {module: path for path, module in self.model.named_modules()}

    @property
    def samples(self) -> int:
        """How many samples have been seen."""
        return sum(self.sizes)

    @property
    def has(self) -> set[str]:
        """Which of the things that a probe may need are there."""
        if self.table is not None:
            return {"table"}
        given = {"data", *(name for name in ("optimizer", "reference") if getattr(self, name) is not None)}
        if self.loss is not None or (self.example is not None and targets_of(self.example) is not None):
            given.add("loss")
        return given

    def see(self, batch: Any) -> None:
        """Take note of a batch."""
        self.batch = batch
        if self.example is None:
            self.example = batch
        self.sizes.append(batch_size(batch) if self.forward is None else _any_size(batch))

    def call(self, batch: Any, model: nn.Module | None = None) -> Any:
        """The output of the model (or of a copy of it) on a batch."""
        return call(model or self.model, batch, self.forward)

    def tensor(self, output: Any) -> Tensor:
        """The tensor in an output; TypeError where it is not clear which."""
        return output_tensor(output)

    @property
    def device(self) -> torch.device:
        """Where the model's parameters are."""
        return next((parameter.device for parameter in self.model.parameters()), torch.device("cpu"))


def _any_size(batch: Any) -> int:
    """Samples of a batch that only the user's `forward` can read."""
    found = tensor_in(batch) if not isinstance(batch, dict) else tensor_in(tuple(batch.values()))
    return len(found) if found is not None and found.ndim else 1
