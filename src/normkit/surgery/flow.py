"""The data flow of one forward pass: which call reads whose output."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

__all__ = ["LAYERS", "Flow", "Step", "canonical_paths", "is_leaf"]

LAYERS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
"""torch's own layers that hold sums and norms of their own: looked into where they run, closed to torch.fx."""

_STACKS = (nn.TransformerEncoder, nn.TransformerDecoder)


@dataclass(frozen=True)
class Step:
    """One call of a forward pass.

    Attributes:
        index: its place in the order of the calls.
        kind: `"input"`, `"module"` (a module that is not looked into), `"function"` or `"output"`.
        name: the module's class, the function's name, or the argument's name.
        path: of a module, the first path at which it stands; else `""`.
        caller: path of the module whose `forward` made the call.
        reads: indices of the steps whose output it reads.
        function: of a function, the object that was called.
        arguments: of a function, its arguments that are no tensors (by keyword; positional ones by their number).
        shapes: of the tensors that came out; empty where the flow was traced without an example.
        sources: of a module, the step that made each of its tensor arguments (by keyword; positional ones by number).
        inside: of a module of another library that holds vectors alone, the functions that it called, its arguments
            before them; numbered by themselves. Empty where the flow was traced without an example.
    """

    index: int
    kind: Literal["input", "module", "function", "output"]
    name: str
    path: str = ""
    caller: str = ""
    reads: tuple[int, ...] = ()
    function: Callable[..., Any] | None = field(default=None, compare=False)
    arguments: dict[str | int, Any] = field(default_factory=dict, compare=False)
    shapes: tuple[tuple[int, ...], ...] = field(default=(), compare=False)
    sources: dict[str | int, int] = field(default_factory=dict, compare=False)
    inside: "tuple[Step, ...]" = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class Flow:
    """The steps of one forward pass in the order of the calls."""

    steps: tuple[Step, ...]
    canonical: dict[str, str] = field(default_factory=dict, repr=False)

    def calls(self, path: str) -> list[Step]:
        """The calls of the module at `path` (several where it is shared; none where it never runs)."""
        first = self.canonical.get(path, path)
        return [step for step in self.steps if step.kind == "module" and step.path == first]

    def followers(self, path: str) -> list[Step]:
        """The steps that read an output of the module at `path`."""
        made = {step.index for step in self.calls(path)}
        return [step for step in self.steps if made & set(step.reads)]

    def producers(self, path: str) -> list[Step]:
        """The steps whose output the module at `path` reads."""
        read = {index for step in self.calls(path) for index in step.reads}
        return [step for step in self.steps if step.index in read]

    def order(self, path: str) -> int | None:
        """Place of the module's first call; None where it never runs."""
        calls = self.calls(path)
        return calls[0].index if calls else None


def canonical_paths(model: nn.Module) -> dict[str, str]:
    """Every path of `model` to the first path of the module that stands there."""
    first = {id(module): path for path, module in model.named_modules()}
    return {path: first[id(module)] for path, module in model.named_modules(remove_duplicate=False)}


def is_leaf(module: nn.Module) -> bool:
    """Whether the flow takes `module` as one step: torch's and normkit's own layers, and modules without children.

    So is a scripted module: its code is compiled, and what it calls cannot be seen.
    """
    if isinstance(module, torch.jit.ScriptModule):
        return True
    if isinstance(module, (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.Transformer, *_STACKS, *LAYERS)):
        return False
    own = type(module).__module__.startswith(("torch.nn.modules", "torch.ao.nn", "normkit.nn"))
    return own or set(module._modules) <= {"parametrizations"}
