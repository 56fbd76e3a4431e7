"""What a number given by the user must be; a bool, a string or a list is none."""

import math
from numbers import Integral, Real
from typing import Any

import numpy as np

__all__ = ["is_number", "require_number", "require_shape", "require_whole"]


def is_number(value: Any) -> bool:
    """Whether it is a real number, of Python or numpy, that float64 can hold, and no bool and no NaN."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        return False
    try:
        return not math.isnan(float(value))
    except OverflowError:
        return False


def require_number(
    name: str, value: Any, low: float, wanted: str, *, high: float = math.inf, closed: bool = False
) -> None:
    """ValueError unless low < value < high (low ≤ value where `closed`); the message ends in `wanted`."""
    if not is_number(value) or not (low < value or (closed and low == value)) or not value < high:
        raise ValueError(f"{name} is {value!r}: {wanted}")


def require_whole(name: str, value: Any, low: int, wanted: str, *, high: int | None = None) -> None:
    """ValueError unless `value` is an int of `low` or more, and of `high` or less; the message ends in `wanted`."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or int(value) < low or (high is not None and int(value) > high):
        raise ValueError(f"{name} is {value!r}: {wanted}")


def require_shape(name: str, value: Any, shape: tuple[int, ...]) -> None:
    """ValueError unless `value` is an array of finite float64 of this shape."""
    if not isinstance(value, np.ndarray) or value.dtype != np.float64:
        kind = f"of {value.dtype}" if isinstance(value, np.ndarray) else repr(value)
        raise ValueError(f"{name} is {kind}, and an array of float64 is wanted")
    if value.shape != shape:
        raise ValueError(f"{name} has shape {value.shape}, and {shape} is wanted")
    if not np.all(np.isfinite(value)):
        raise ValueError(f"{name} holds what is not finite")
