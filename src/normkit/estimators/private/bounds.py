"""Public bounds of private rows: a box, or a ball that rows are moved into."""

from numbers import Real
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

__all__ = ["as_ball", "as_box", "check_powers", "into_ball", "require_bounds"]

_SMALLEST, _LARGEST = 1e-100, 1e100  # of a width or radius: answers and errors have its square, times squares of counts


def require_bounds(bounds: Any) -> None:
    """ValueError where there are none, or they would be taken from the data."""
    if bounds is None or isinstance(bounds, str):
        raise ValueError(
            f"bounds is {bounds!r}: give (low, high), known without the data; bounds taken from private rows would "
            "tell their extremes"
        )


def as_box(bounds: Any, dims: int) -> tuple[Float[ndarray, "d"], Float[ndarray, "d"]]:
    """Low and high of each of `dims` columns.

    Raises:
        ValueError: no pair, not one number a column, not low < high, or a width outside 1e-100 to 1e100.
    """
    if not (isinstance(bounds, (tuple, list)) or (isinstance(bounds, np.ndarray) and bounds.ndim)) or len(bounds) != 2:
        raise ValueError(f"bounds is {bounds!r}: give a pair (low, high)")
    try:
        ends = [np.asarray(end) for end in bounds]
        if any(end.dtype.kind not in "iuf" for end in ends):
            raise ValueError("no numbers")
        low, high = (np.broadcast_to(end.astype(np.float64), (dims,)) for end in ends)
    except (ValueError, TypeError, OverflowError):
        raise ValueError(f"bounds is {bounds!r}: give two numbers, or two lists of {dims}, one a column") from None
    if not (np.all(np.isfinite(low)) and np.all(np.isfinite(high)) and np.all(low < high)):
        raise ValueError(f"bounds is {bounds!r}: give finite numbers with low < high in each column")
    with np.errstate(over="ignore"):
        width = high - low
    if np.any(width < _SMALLEST) or np.any(width > _LARGEST):
        raise ValueError(f"bounds is {bounds!r}: high - low must be from {_SMALLEST:g} to {_LARGEST:g}")
    return low, high


def check_powers(low: Float[ndarray, "d"], high: Float[ndarray, "d"], p: float) -> None:
    """ValueError where distances within the box, to the power p, are out of reach of float64 when they are squared."""
    with np.errstate(all="ignore"):
        powers = (high - low) ** p
    if np.any(powers < _SMALLEST) or np.any(powers > _LARGEST):
        raise ValueError(
            f"p is {p:g}: (high - low)^p must be from {_SMALLEST:g} to {_LARGEST:g} in each column; give a smaller "
            "p, or data and bounds in another unit"
        )


def as_ball(bounds: Any, dims: int) -> tuple[Float[ndarray, "d"], float]:
    """Centre and radius: of a ball about 0 from one number, of the ball around the box from a pair.

    Raises:
        ValueError: the radius is not from 1e-100 to 1e100, or as `as_box`.
    """
    if _is_number(bounds):
        if not _SMALLEST <= bounds <= _LARGEST:
            raise ValueError(
                f"bounds is {bounds}: give the radius of a ball, a finite number above 0 (from {_SMALLEST:g} to "
                f"{_LARGEST:g})"
            )
        return np.zeros(dims), float(bounds)
    low, high = as_box(bounds, dims)
    half = high / 2 - low / 2
    return low / 2 + high / 2, float(half.max() * np.linalg.norm(half / half.max()))


@np.errstate(all="ignore")  # whatever the caller's setting: an error or a warning would tell of a row
def into_ball(
    X: Float[ndarray, "n d"], center: Float[ndarray, "d"], radius: float
) -> tuple[Float[ndarray, "n d"], Bool[ndarray, "n"]]:
    """(x − center)/radius of each row, moved onto the unit sphere where it is longer than 1, and which rows were.

    Every row comes out with norm 1 at most, to rounding, whatever finite number is in it, and without a warning: each
    is divided by its largest entry before anything is squared, and halves do not overflow where a difference does.
    """
    away = X / 2 - center / 2
    largest = np.abs(away).max(axis=1, keepdims=True)
    direction = away / np.where(largest > 0, largest, 1.0)
    length = np.maximum(np.sqrt(np.square(direction).sum(axis=1, keepdims=True)), 1.0)
    relative = largest / (radius / 2)
    outside = relative > 1 / length
    return direction * np.where(outside, 1 / length, relative), outside[:, 0]


def _is_number(bounds: Any) -> bool:
    return isinstance(bounds, Real) and not isinstance(bounds, (bool, np.bool_))
