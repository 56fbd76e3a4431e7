"""Zeros of a composition: they have no logarithm, so they are refused or replaced by a rule that the user chooses.

- `"error"`: refused, with the columns that hold them;
- `"min"`: the smallest positive entry of the whole table;
- `"multiplicative"`: in the proportions, δ = 1/D² for a zero and x·(1 − δ·number of zeros in the row) for the others,
  which keeps the ratios of what is not zero;
- a number: added to every entry (a pseudocount).

Source: the rule "min" is that of the R package propr; the multiplicative one is Martín-Fernández et al. (2003), Dealing
with Zeros and Missing Values in Compositional Data Sets, Mathematical Geology 35, section 3.
"""

from numbers import Real
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from normkit.estimators.compositions import closure

__all__ = ["replace_zeros"]

RULES = ("error", "min", "multiplicative")


def replace_zeros(
    X: ArrayLike, rule: Any = "error", *, names: ArrayLike | None = None
) -> Float[np.ndarray, "samples parts"]:
    """The table with positive entries only, by one of the rules of this module.

    Args:
        X: (N, D) parts, not negative.
        rule: "error", "min", "multiplicative" or a positive number to add to every entry.
        names: of the columns, for the message.

    Returns:
        (N, D) positive parts; closed to 1 by "multiplicative", in the unit of X otherwise.

    Raises:
        ValueError: a negative or infinite entry, a zero where the rule is "error" (the message names the columns),
            a row without any part (but for a pseudocount, which makes it uniform), or an unknown rule.
    """
    parts = np.asarray(X, dtype=np.float64)
    _check_rule(rule)
    if not np.isfinite(parts).all():
        raise ValueError("a value is not finite: leave the sample out, or fill it in")
    if (parts < 0).any():
        raise ValueError(
            f"Negative values in data, {_columns(parts < 0, names)}: parts are wanted (amounts, counts or shares), "
            "not log-ratios or other transformed data"
        )
    if not isinstance(rule, str):
        return parts + float(rule)
    zero = parts == 0
    if rule == "multiplicative":
        return _multiplicative(parts, zero)
    if not zero.any():
        return parts
    if rule == "error":
        raise ValueError(
            f"zeros in {_columns(zero, names)}, and a zero has no logarithm: "
            'pass zeros="multiplicative", "min" or a pseudocount'
        )
    closure(parts)  # refuses a row without any part
    return np.where(zero, parts[~zero].min(), parts)


def _multiplicative(parts: np.ndarray, zero: np.ndarray) -> np.ndarray:
    delta = 1 / parts.shape[1] ** 2
    kept = 1 - delta * zero.sum(1, keepdims=True)
    return np.where(zero, delta, closure(parts) * kept)


def _check_rule(rule: Any) -> None:
    number = isinstance(rule, Real) and not isinstance(rule, bool)
    if rule in RULES if isinstance(rule, str) else number and np.isfinite(rule) and rule > 0:
        return
    raise ValueError(f"zeros is {rule!r}: it must be {', '.join(map(repr, RULES))} or a positive pseudocount")


def _columns(where: np.ndarray, names: ArrayLike | None, most: int = 5) -> str:
    """The columns in which `where` holds, a few by name."""
    found = np.flatnonzero(where.any(0))
    known = (
        np.asarray(names, dtype=object) if names is not None else [f"column {place}" for place in range(where.shape[1])]
    )
    shown = [str(known[place]) for place in found[:most]]
    return ", ".join(shown) + (f" and {len(found) - most} more" if len(found) > most else "")
