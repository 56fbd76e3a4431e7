"""Calls that a fresh process can import, for the tests of growth: what they take is known."""

import os
import signal
from typing import Any

import numpy as np


def numbers(n: int, generator: np.random.Generator) -> tuple[np.ndarray]:
    """n random numbers, made by way of a temporary four times as large."""
    return (generator.standard_normal(4 * n)[:n].copy(),)


def linear(x: np.ndarray) -> np.ndarray:
    """Holds one number a number."""
    return x + 1.0


def linear_with_temporary(x: np.ndarray) -> np.ndarray:
    """The same numbers; holds three a number."""
    twice = np.concatenate((x, x))
    return twice[: len(x)] + 1.0


def quadratic(x: np.ndarray) -> np.ndarray:
    """Holds n² numbers and gives n."""
    return np.add.outer(x, x)[:, 0]


def other(x: np.ndarray) -> np.ndarray:
    """Another function."""
    return x + 1.001


def refuses(x: np.ndarray) -> np.ndarray:
    """Raises where there are more than ten."""
    if len(x) > 10:
        raise ValueError(f"{len(x)} are too many")
    return x + 1.0


def wants_too_much(x: np.ndarray) -> Any:
    """Asks for more than any machine has where there are more than ten."""
    return x + 1.0 if len(x) <= 10 else np.empty(2**55)


def ends_its_process(x: np.ndarray) -> np.ndarray:
    """Is ended by the system where there are more than ten."""
    if len(x) > 10:
        os.kill(os.getpid(), signal.SIGTERM)
    return x + 1.0
