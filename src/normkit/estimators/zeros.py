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
from numpy.typing import ArrayLike

from normkit.estimators._parts import labels_of, several, tabled
from normkit.estimators.compositions import closure

__all__ = ["check_rule", "replace_zeros"]

RULES = ("error", "min", "multiplicative")


def replace_zeros(X: ArrayLike, rule: Any = "error", *, names: ArrayLike | None = None) -> Any:
    """The table with positive entries only, by one of the rules of this module.

    Args:
        X: (N, D) parts, not negative.
        rule: "error", "min", "multiplicative" or a positive number to add to every entry.
        names: of the columns, for the message; those of a DataFrame by default.

    Returns:
        (N, D) positive parts, a DataFrame where X is one; closed to 1 by "multiplicative", in the unit of X otherwise.

    Raises:
        ValueError: no table, a negative or infinite entry, a zero where the rule is "error" (the message names the
            columns), a row without any part (but for a pseudocount, which makes it uniform), or an unknown rule.
    """
    parts = np.asarray(X, dtype=np.float64)
    check_rule(rule)
    if parts.ndim != 2:
        raise ValueError(f"an array of shape {parts.shape} came: a table (N, D) is wanted, samples in rows")
    return tabled(_replaced(parts, rule, labels_of(X) if names is None else names), X)


def _replaced(parts: np.ndarray, rule: Any, names: ArrayLike | None) -> np.ndarray:
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
    if not zero.any():
        return closure(parts) if rule == "multiplicative" else parts
    if rule == "error":
        raise ValueError(
            f"zeros in {_columns(zero, names)}, and a zero has no logarithm: "
            f'pass zeros="multiplicative", "min" or a pseudocount ({100 * zero.mean():.2g} % of the table are zeros)'
        )
    if (empty := zero.all(1)).any():
        raise ValueError(
            f"only zeros in {empty.sum()} of {len(parts)} rows (row {several(np.flatnonzero(empty))}, counted from 0): "
            "they have no proportions, leave them out"
        )
    return _multiplicative(parts, zero) if rule == "multiplicative" else np.where(zero, parts[~zero].min(), parts)


def _multiplicative(parts: np.ndarray, zero: np.ndarray) -> np.ndarray:
    delta = 1 / parts.shape[1] ** 2
    kept = 1 - delta * zero.sum(1, keepdims=True)
    return np.where(zero, delta, closure(parts) * kept)


def check_rule(rule: Any) -> None:
    """Raises ValueError where `rule` is no rule for zeros."""
    number = isinstance(rule, Real) and not isinstance(rule, bool)
    if rule in RULES if isinstance(rule, str) else number and np.isfinite(rule) and rule > 0:
        return
    raise ValueError(f"zeros is {rule!r}: it must be {', '.join(map(repr, RULES))} or a positive pseudocount")


def _columns(where: np.ndarray, names: ArrayLike | None) -> str:
    """The columns in which `where` holds, a few by name."""
    if names is None:
        names = [f"column {place}" for place in range(where.shape[1])]
    return several(np.asarray(names, dtype=object)[where.any(0)])
