"""A deep copy of a network that shares nothing with the original, also where its code was patched on instances."""

import copy as standard
from collections.abc import Callable
from types import CellType, FunctionType, MethodType
from typing import Any, TypeVar

from torch import nn

__all__ = ["copy"]

Network = TypeVar("Network", bound=nn.Module)


def copy(model: Network) -> Network:
    """`copy.deepcopy(model)`, with functions that are bound to the original by closure bound to the copy.

    `deepcopy` takes functions as they are. A `forward` patched on the instance, or a hook, that holds the module (or
    one of its tensors) in a closure would go on reading the *original* weights; here its cells are rewritten.

    Raises:
        ValueError: the model holds a tensor that is no leaf (it was computed with gradients), which cannot be copied.
    """
    memo: dict[int, Any] = {}
    try:
        twin = standard.deepcopy(model, memo)
    except RuntimeError as error:
        if "deepcopy" not in str(error):
            raise
        raise ValueError(
            f"{type(model).__name__} cannot be copied: it holds a tensor that was computed with gradients. "
            "Detach it, or remove the hook (such as the old weight_norm) that computes it."
        ) from error
    rebound: dict[int, Callable[..., Any]] = {}
    for module in twin.modules():
        _rebind_values(vars(module), memo, rebound)
        for name, value in vars(module).items():
            if name.endswith("_hooks") and isinstance(value, dict):
                _rebind_values(value, memo, rebound)
    return twin


def _rebind_values(values: dict[Any, Any], memo: dict[int, Any], rebound: dict[int, Callable[..., Any]]) -> None:
    for name, value in values.items():
        if isinstance(value, FunctionType):
            values[name] = _rebind(value, memo, rebound)


def _rebind(function: FunctionType, memo: dict[int, Any], rebound: dict[int, Callable[..., Any]]) -> Any:
    """`function`, or a twin of it whose closure holds the copies of what was copied."""
    if id(function) in rebound:
        return rebound[id(function)]
    rebound[id(function)] = function  # a closure that holds itself ends here
    cells = function.__closure__ or ()
    contents = [_copied(cell, memo, rebound) for cell in cells]
    if all(new is _contents(cell) for new, cell in zip(contents, cells, strict=True)):
        return function
    closure = tuple(CellType(content) for content in contents)
    twin = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__, closure)
    twin.__kwdefaults__ = function.__kwdefaults__
    twin.__dict__.update(function.__dict__)
    rebound[id(function)] = twin
    return twin


def _contents(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name that was never assigned
        return None


def _copied(cell: CellType, memo: dict[int, Any], rebound: dict[int, Callable[..., Any]]) -> Any:
    content = _contents(cell)
    if id(content) in memo:
        return memo[id(content)]
    if isinstance(content, FunctionType):
        return _rebind(content, memo, rebound)
    if isinstance(content, MethodType) and id(content.__self__) in memo:
        return MethodType(content.__func__, memo[id(content.__self__)])
    return content
