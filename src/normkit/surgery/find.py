"""Where modules and parameters stand in a network, with shared ones known as shared."""

from typing import NamedTuple

from torch import nn

__all__ = ["Found", "find", "paths", "submodule", "ties"]


class Found(NamedTuple):
    """A module and the first path at which it stands."""

    path: str
    module: nn.Module


def find(model: nn.Module, types: type[nn.Module] | tuple[type[nn.Module], ...] = nn.Module) -> list[Found]:
    """Every module of `types` in the order of registration; a module that is shared comes once, at its first path.

    `paths(model, module)` gives all the paths of one. The model itself has the path `""`.
    """
    return [Found(path, module) for path, module in model.named_modules() if isinstance(module, types)]


def paths(model: nn.Module, module: nn.Module) -> list[str]:
    """All paths at which `module` (the same object) stands in `model`, in the order of registration."""
    return [path for path, found in model.named_modules(remove_duplicate=False) if found is module]


def submodule(model: nn.Module, path: str) -> nn.Module:
    """The module at `path`.

    Raises:
        ValueError: nothing stands there; says how far the path leads and what stands at its end.
    """
    reached, module = "", model
    for name in path.split(".") if path else []:
        child = module._modules.get(name)
        if child is None:
            there = ", ".join(module._modules) or "no children"
            raise ValueError(f"there is no module {path!r}: {reached or type(model).__name__!r} has {there}")
        reached, module = f"{reached}.{name}".lstrip("."), child
    return module


def ties(model: nn.Module) -> list[tuple[str, ...]]:
    """Names of parameters that are one tensor held by different modules (tied weights), a tuple per tensor.

    A module that is shared whole is not tied: its parameters still have one holder.
    """
    holders: dict[int, dict[int, str]] = {}
    for path, module in model.named_modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                full = f"{path}.{name}".lstrip(".")
                holders.setdefault(id(parameter), {}).setdefault(id(module), full)
    return [tuple(names.values()) for names in holders.values() if len(names) > 1]
