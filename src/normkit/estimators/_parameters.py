"""What a constructor's parameter may be, told in one sentence where it is something else.

scikit-learn stores parameters untouched and looks at them in `fit`; whatever came, the answer is then a ValueError that
names the parameter, what came and what is wanted. A bool is no number here: it is a mistake wherever a number counts.
"""

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any, TypeGuard

import numpy as np
import torch

__all__ = [
    "check",
    "check_choice",
    "check_device",
    "check_flag",
    "check_number",
    "check_seed",
    "check_whole",
    "is_number",
    "is_whole",
]

_SEEDS = 2**32
"""How many there are for numpy's `RandomState`."""


def check(name: str, value: Any, is_right: bool | np.bool_, wanted: str) -> None:
    """Raise ValueError unless it is right."""
    if not is_right:
        raise ValueError(f"{name} is {_shown(value)}: it must be {wanted}")


def check_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    """One of some names."""
    names = tuple(choices)
    known = isinstance(value, str) and value in names
    check(
        name, value, known, f"one of {', '.join(map(repr, names))}" if len(names) > 2 else " or ".join(map(repr, names))
    )


def check_flag(name: str, value: Any) -> None:
    """True or False."""
    check(name, value, _is_flag(value), "True or False")


def check_number(
    name: str, value: Any, low: float, wanted: str, *, high: float = math.inf, closed: bool = False
) -> None:
    """A finite number with low < value < high, or low ≤ value where `closed`."""
    inside = is_number(value) and (low < value or (closed and low == value)) and value < high
    check(name, value, inside, wanted)


def check_whole(name: str, value: Any, least: int, wanted: str, *, most: int | None = None) -> None:
    """A whole number of `least` or more, and of `most` or less."""
    check(name, value, is_whole(value, least) and (most is None or value <= most), wanted)


def check_seed(value: Any, name: str = "random_state") -> None:
    """What `sklearn.utils.check_random_state` takes."""
    seeded = is_whole(value, 0) and value < _SEEDS
    right = value is None or value is np.random or seeded or isinstance(value, np.random.RandomState)
    check(name, value, right, f"None, a whole number from 0 to {_SEEDS - 1} or a numpy RandomState")


def check_device(value: Any) -> torch.device:
    """The device, which this machine has and can compute on: one number is put there and read back.

    Raises:
        ValueError: torch does not know it, was built without it, or finds none.
    """
    reason = "a name such as 'cpu' or 'cuda:0' is wanted"
    if isinstance(value, (str, torch.device)):
        try:
            found = torch.device(value)
            torch.ones(1, device=found).item()
            return found
        # torch without CUDA asserts; an unknown name, a missing driver or a device without numbers are RuntimeErrors
        except (AssertionError, RuntimeError, ImportError) as error:
            reason = str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
    raise ValueError(f"device is {_shown(value)}, which torch cannot compute on here ({reason}): {_there()}")


def is_number(value: Any) -> TypeGuard[float]:
    """A finite real number that float64 can hold."""
    if _is_flag(value) or not isinstance(value, Real):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def is_whole(value: Any, least: int = 1) -> TypeGuard[int]:
    """A whole number of at least `least`."""
    return not _is_flag(value) and isinstance(value, Integral) and int(value) >= least


def _is_flag(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_))


def _there() -> str:
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        return f"this machine has 'cpu' and {', '.join(repr(f'cuda:{index}') for index in range(count))}"
    mps = getattr(torch.backends, "mps", None)
    if mps is not None and mps.is_available():
        return "this machine has 'cpu' and 'mps'"
    return "this machine has 'cpu' alone"


def _shown(value: Any, longest: int = 80) -> str:
    """Its repr, of a long one the beginning."""
    text = " ".join(repr(value).split())
    return text if len(text) <= longest else f"{text[:longest]}…"
