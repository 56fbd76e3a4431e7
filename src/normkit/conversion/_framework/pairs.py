"""What a new layer must reproduce: its inputs in the new network and the old layer's outputs in the old one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from normkit.conversion._framework.inputs import run
from normkit.surgery import submodule

__all__ = ["Pairs", "evaluating"]


@dataclass(frozen=True)
class Pairs:
    """Iterates over `(input, target)` of one site, a pair for each of its calls in each batch.

    The input is what reaches the site in the network converted so far, the target what the old layer at `path` gave in
    the network before the rule: so each layer makes up for what the layers before it could not reproduce.
    """

    before: nn.Module
    after: nn.Module
    batches: Sequence[Any]
    path: str

    def at(self, path: str) -> "Pairs":
        """The pairs of another place in the same networks."""
        return Pairs(self.before, self.after, self.batches, path)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in self.batches:
            targets = [output for _, output in _calls(self.before, self.path, batch)]
            inputs = [entering for entering, _ in _calls(self.after, self.path, batch)]
            yield from zip(inputs, targets, strict=True)


def _calls(model: nn.Module, path: str, batch: Any) -> list[tuple[Tensor, Tensor]]:
    """Input and output of every call of the module at `path` (copies: what follows may work in place)."""
    seen: list[tuple[Tensor, Tensor]] = []
    entering: list[Tensor] = []

    def before(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        entering.append(args[0].clone())

    def after(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append((entering.pop(), output.clone()))

    module = submodule(model, path)
    handles = [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    try:
        with torch.no_grad(), evaluating(model):
            run(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    return seen


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode; every module's own mode comes back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
