"""Parts by name: what the columns of a fitted table are called, and which one is meant."""

from typing import Any

import numpy as np

__all__ = ["names_of", "place_of"]


def names_of(estimator: Any) -> np.ndarray:
    """Names of the columns that an estimator was fitted on: the DataFrame's, or x0, x1, …."""
    default = np.array([f"x{place}" for place in range(estimator.n_features_in_)], dtype=object)
    names: np.ndarray = getattr(estimator, "feature_names_in_", default)
    return names


def place_of(reference: Any, names: np.ndarray) -> int:
    """Index of a part that is named or counted.

    Raises:
        ValueError: there is no such part.
    """
    known = list(names)
    if reference in known:
        return known.index(reference)
    if isinstance(reference, int | np.integer) and -len(known) <= reference < len(known):
        return int(reference) % len(known)
    raise ValueError(
        f"reference is {reference!r}: it must be an index below {len(known)} or a column, such as {known[0]!r}"
    )
