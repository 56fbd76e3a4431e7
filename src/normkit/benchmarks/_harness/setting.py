"""One setting in which all variants of a suite are timed side by side."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

__all__ = ["Case", "Scene", "Shape"]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Scene:
    """One setting in which all variants of a suite are timed side by side.

    Args:
        shape: shape of the first input (a suite may read more into it).
        threads: how many threads torch may use.
        mode: `fwd`, `bwd` or `fwd+bwd`.
        output: `reused` (memory given by `out=`, already touched) or `fresh` (allocated by the call).
        dtype: of the inputs.
        case: `normal` for random normal inputs, else the name of one of the suite's own `cases`.
        kernels: whether the operation's kernels are timed one by one besides the public function.
        device: `cpu` or `cuda`, the current one.
    """

    shape: Shape
    threads: int = 1
    mode: str = "fwd"
    output: str = "fresh"
    dtype: torch.dtype = torch.float32
    case: str = "normal"
    kernels: bool = False
    device: str = "cpu"

    @property
    def place(self) -> torch.device:
        """Where the inputs lie."""
        return torch.device(self.device)


@dataclass(frozen=True)
class Case:
    """Other inputs, or other arguments, than a suite's usual ones, on sizes of their own.

    Args:
        name: what the record's `op` bears behind a slash.
        shapes: of the first input.
        build: makes the first input; None leaves the suite's own.
        options: keyword arguments that the public function, the reference and the peers are called with.
        kernels: time the operation's kernels one by one.
    """

    name: str
    shapes: tuple[Shape, ...]
    build: Callable[[Shape], Tensor] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    kernels: bool = False
