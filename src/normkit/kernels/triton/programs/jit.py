"""How a function becomes a device program."""

import inspect
from collections.abc import Callable
from typing import Any

import triton

__all__ = ["program"]


def program(function: Callable[..., Any]) -> Any:
    """Compile for the device on first launch, from the bare source: a checker's wrapper means nothing there."""
    return triton.jit(inspect.unwrap(function))
