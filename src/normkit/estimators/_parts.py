"""Parts by name: what the columns of a table are called, which one is meant, and tables read and given back by name."""

from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from normkit.extras import require

__all__ = ["framed", "labels_of", "names_of", "place_of", "several", "tabled", "validated"]


def labels_of(X: Any) -> np.ndarray | None:
    """The columns' names as a DataFrame bears them, strings or not; None for what is no DataFrame."""
    if not all(hasattr(X, name) for name in ("columns", "index", "to_numpy")):
        return None
    labels = np.empty(len(X.columns), dtype=object)
    labels[:] = list(X.columns)
    return labels


def names_of(estimator: Any) -> np.ndarray:
    """Names of the columns that an estimator was fitted on: the DataFrame's, or x0, x1, …."""
    names = getattr(estimator, "feature_names_in_", None)
    names = getattr(estimator, "_labels", None) if names is None else names  # scikit-learn keeps names of strings alone
    if names is not None:
        return np.asarray(names)
    return np.array([f"x{place}" for place in range(estimator.n_features_in_)], dtype=object)


def place_of(reference: Any, names: np.ndarray) -> int:
    """Index of a part that is named or counted; a name goes before an index.

    Raises:
        ValueError: there is no such part.
    """
    known = list(names)
    if np.ndim(reference) == 0 and not isinstance(reference, bool | np.bool_):
        if reference in known:
            return known.index(reference)
        if isinstance(reference, int | np.integer) and -len(known) <= reference < len(known):
            return int(reference) % len(known)
    raise ValueError(
        f"reference is {reference!r}: it must be an index below {len(known)} or a column, such as {known[0]!r}"
    )


def tabled(table: np.ndarray, X: Any) -> Any:
    """An N × D result with the names of samples and parts where X is a DataFrame, else as it is."""
    if labels_of(X) is None:
        return table
    return require("pandas").DataFrame(table, index=X.index, columns=X.columns)


def framed(matrix: np.ndarray, X: Any) -> Any:
    """A D × D result with the parts' names as rows and columns where X is a DataFrame, else as it is."""
    if labels_of(X) is None:
        return matrix
    return require("pandas").DataFrame(matrix, index=X.columns, columns=X.columns)


def validated(estimator: Any, X: Any, **options: Any) -> np.ndarray:
    """`validate_data` in float64, with messages that name the columns which hold no numbers, or gaps.

    Raises:
        ValueError: as `validate_data`, for a value that is not finite, and for text.
    """
    labels = labels_of(X)
    if labels is not None and hasattr(X, "sparse"):  # a table of counts as BIOM files are read: zeros will be replaced
        X = X.sparse.to_dense()
    try:
        table: np.ndarray = validate_data(estimator, X, dtype=np.float64, ensure_all_finite=False, **options)
    except ValueError as error:
        texts = (
            [] if labels is None else [label for place, label in enumerate(labels) if not _numbers(X.iloc[:, place])]
        )
        if not texts:
            raise
        raise ValueError(
            f"no numbers in {several(texts)}: parts are wanted in every column; leave these out, or make names of "
            "samples the index (table.set_index)"
        ) from error
    if options.get("reset", True):
        estimator._labels = labels
    _check_finite(table, names_of(estimator))
    return table


def several(labels: Any, most: int = 5) -> str:
    """A few of the labels in words."""
    shown = ", ".join(map(str, labels[:most]))
    return shown + (f" and {len(labels) - most} more" if len(labels) > most else "")


def _numbers(column: Any) -> bool:
    try:
        column.to_numpy(dtype=np.float64)
    except (ValueError, TypeError):
        return False
    return True


def _check_finite(table: np.ndarray, names: np.ndarray) -> None:
    for what, where, remedy in (
        ("NaN", np.isnan(table), "leave these rows out (table.dropna()), or fill them in"),
        ("infinity", np.isinf(table), "leave these rows out, or fill them in"),
    ):
        if where.any():
            rows = int(where.any(1).sum())
            raise ValueError(
                f"Input X contains {what} in {several(names[where.any(0)])} ({rows} of {len(table)} rows): {remedy}"
            )
