"""What a new layer must reproduce: its inputs in the new network and the old layer's outputs in the old one.

A forward pass ends where the layer in question was reached, and what fits into memory is kept: for N sites in a row and
B batches about B·(1 + N/2) passes are run, and with nothing kept B·N for each time that a rule looks at its pairs.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from normkit.conversion._framework.inputs import run
from normkit.surgery import find, submodule

__all__ = ["Before", "Pairs", "evaluating"]

KEPT_BYTES = 2**28
"""So much may be kept of the outputs of the old network, and so much again of the pairs of one site."""


class _Reached(BaseException):
    """Ends a forward pass whose rest nobody asks for; no Exception, so that no network catches it."""


class Before:
    """The network before the rule, and what its modules give on each batch.

    One run keeps, besides what was asked for, the outputs of the modules of the same class that follow, as far as
    there is room.
    """

    def __init__(self, model: nn.Module, batches: Sequence[Any]) -> None:
        self.model = model
        self.batches = batches
        self._kept: dict[tuple[str, int], list[Tensor]] = {}
        self._calls: Counter[tuple[str, int]] = Counter()
        self._counted: set[tuple[type[nn.Module], int]] = set()

    def outputs(self, path: str, number: int) -> list[Tensor]:
        """The output of each call of the module at `path` on the batch of that number; handed out, not kept."""
        if (path, number) not in self._kept:
            self._kept = {key: made for key, made in self._kept.items() if key[1] != number}
            self._run(path, number)
        return self._kept.pop((path, number), [])

    def _run(self, path: str, number: int) -> None:
        kind = type(submodule(self.model, path))
        known = (kind, number) in self._counted
        calls: Counter[tuple[str, int]] = Counter()
        seen: dict[str, list[Tensor]] = {}
        room = KEPT_BYTES // len(self.batches)

        def watch(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
            def after(module: nn.Module, args: Any, output: Tensor) -> None:
                nonlocal room
                calls[name, number] += 1
                if name == path or (path in seen and room > 0):
                    seen.setdefault(name, []).append(output.clone())  # what follows may work in place
                    room -= output.nbytes
                if known and room <= 0 and calls[path, number] == self._calls[path, number]:
                    raise _Reached

            return module.register_forward_hook(after)

        ended = _run(self.model, self.batches[number], [watch(*found) for found in find(self.model, kind)])
        if ended:
            self._calls |= calls
            self._counted.add((kind, number))
        for name, made in seen.items():
            if len(made) == self._calls[name, number]:
                self._kept[name, number] = made


@dataclass(frozen=True)
class Pairs:
    """Iterates over `(input, target)` of one site, a pair for each of its calls in each batch; not to be written to.

    The input is what reaches the site in the network converted so far, the target what the old layer at `path` gave in
    the network before the rule: so each layer makes up for what the layers before it could not reproduce. A rule that
    changes what stands before the site while it looks takes new pairs (`at`), as these may be kept from the first look.
    """

    before: Before
    after: nn.Module
    path: str
    _kept: list[tuple[Tensor, Tensor]] = field(default_factory=list, init=False, repr=False, compare=False)

    def at(self, path: str) -> "Pairs":
        """The pairs of another place in the same networks."""
        return Pairs(self.before, self.after, path)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self._kept:
            yield from self._kept
            return
        looked: list[tuple[Tensor, Tensor]] = []
        room = KEPT_BYTES
        for number, batch in enumerate(self.before.batches):
            targets = self.before.outputs(self.path, number)
            inputs = _entering(self.after, self.path, batch, len(targets))
            for pair in zip(inputs, targets, strict=True):
                room -= sum(tensor.nbytes for tensor in pair)
                if room < 0:
                    looked.clear()
                else:
                    looked.append(pair)
                yield pair
        self._kept.extend(looked if room >= 0 else ())


def _entering(model: nn.Module, path: str, batch: Any, calls: int) -> list[Tensor]:
    """What enters the module at `path` at each of so many calls; the last of them is not made."""
    seen: list[Tensor] = []

    def before(module: nn.Module, args: Any, kwargs: Any) -> None:
        seen.append(next(iter([*args, *kwargs.values()])).clone())
        if len(seen) == calls:
            raise _Reached

    if calls:
        _run(model, batch, [submodule(model, path).register_forward_pre_hook(before, with_kwargs=True)])
    return seen


def _run(model: nn.Module, batch: Any, watching: Sequence[torch.utils.hooks.RemovableHandle]) -> bool:
    """Whether the network ran to its end; if not, its modules' attributes are what they were before.

    A network may put something aside in a forward pass that it clears at its end.
    """
    attributes = [(module, dict(vars(module))) for module in model.modules()]
    try:
        with torch.no_grad(), evaluating(model):
            run(model, batch)
    except _Reached:
        for module, values in attributes:
            vars(module).clear()
            vars(module).update(values)
        return False
    finally:
        for handle in watching:
            handle.remove()
    return True


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
