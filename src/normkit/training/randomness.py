"""The state of torch's random generators, taken and given back: a resumed run draws what it would have drawn."""

from typing import Any

import torch
from torch import Tensor

__all__ = ["restore", "snapshot"]


def snapshot(loader: Any = None) -> dict[str, Tensor]:
    """The states of torch's global generators (CPU, and CUDA where it is used) and of the loader's own one."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states |= {f"cuda:{index}": state for index, state in enumerate(torch.cuda.get_rng_state_all())}
    if generator := _own_generator(loader):
        states["loader"] = generator.get_state()
    return states


def restore(states: dict[str, Tensor], loader: Any = None) -> None:
    """Give the generators the states that `snapshot` took."""
    for name, state in states.items():
        if name == "cpu":
            torch.set_rng_state(state)
        elif name.startswith("cuda:") and int(name[5:]) < torch.cuda.device_count():
            torch.cuda.set_rng_state(state, name)
        elif name == "loader" and (generator := _own_generator(loader)):
            generator.set_state(state)


def _own_generator(loader: Any) -> torch.Generator | None:
    generator = getattr(loader, "generator", None)
    return generator if isinstance(generator, torch.Generator) else None
