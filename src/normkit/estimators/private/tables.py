"""Releases and queries by files: a table in, a release out; a table of queries in, a CSV of answers out, in blocks."""

import csv
import os
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np

from normkit.data.cells import Cells
from normkit.data.delimited import as_numbers, read_cells
from normkit.data.files import atomic
from normkit.estimators.private.classifier import PrivateSimilarityClassifier
from normkit.estimators.private.density import PrivateKernelDensity
from normkit.estimators.private.distance import PrivateDistance
from normkit.estimators.private.files import load_private

__all__ = ["answer_queries", "build_release"]

_LINES = 20_000  # queries read at once
_LARGE = 0.1  # δ times the number of rows, from which on a release is warned of
_ROWS = 1000  # taken for their number where a release holds none


def build_release(
    table: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    header: str = "auto",
    kernel: str | None = None,
    metric: str | None = None,
    p: float | None = None,
    bandwidth: float | None = None,
    features: int | None = None,
    projections: int | None = None,
    bounds: Any = None,
    label: str | None = None,
    classes: list[str] | None = None,
    seed: int = 0,
    force: bool = False,
    **budget: Any,
) -> dict[str, Any]:
    """Fit to the rows of a text file of cells, write the release to `out`, and say what was spent.

    Raises:
        FileNotFoundError: there is no such table.
        FileExistsError: `out` is there and `force` is false; nothing is spent.
        OSError: `out` cannot be written; nothing is spent.
        ValueError: a cell that is no number (named by line and column), a first line that could be names or a row
            (`header` "yes" or "no" says which), or options that do not go together.
    """
    if metric is not None:
        _check_metric(
            metric,
            bounds,
            projections,
            {"kernel": kernel, "label": label, "bandwidth": bandwidth, "features": features},
        )
    elif bounds is not None or p is not None:
        raise ValueError("--low, --high and --p are of distances: add --metric, or leave them out")
    if label is not None and not classes:
        raise ValueError(f"--label {label} needs --classes, all labels that could occur: whether one does is private")
    if label is None and classes:
        raise ValueError("--classes are the values of a column of labels: name it with --label, or leave --classes out")
    if label is None and kernel == "inner":
        raise ValueError("--kernel inner is for classes: give --label and --classes")
    _check_free(out, force)
    with atomic(out) as temporary:  # a folder that cannot be written is found before anything is spent
        given = {"bandwidth": bandwidth, "n_features": features, "n_projections": projections}
        options = {name: value for name, value in given.items() if value is not None} | {"random_state": seed}
        cells = read_cells(table, header)
        at = None if label is None else _column(cells, label)
        rows, labels = _rows(cells, at)
        if metric is not None:
            fitted: Any = PrivateDistance(metric, p, bounds=bounds, **options, **budget).fit(rows)
        elif at is not None:
            _check_labels(labels, classes or [], cells.source, label)
            classifier = PrivateSimilarityClassifier(kernel or "gaussian", classes=classes, **options, **budget)
            fitted = classifier.fit(rows, [name for _, name in labels])
        else:
            fitted = PrivateKernelDensity(kernel or "gaussian", **options, **budget).fit(rows)
        if cells.names is not None:
            fitted.feature_names_in_ = np.asarray([n for i, n in enumerate(cells.names) if i != at], dtype=object)
        fitted.save(temporary)
    arrays = (getattr(fitted, name) for name in fitted._summed())
    numbers = sum(int(np.size(array)) for array in arrays)
    return {
        "kind": type(fitted).__name__,
        "numbers": numbers,
        "columns": fitted.n_features_in_,
        "names": [str(name) for name in getattr(fitted, "feature_names_in_", [])] or None,
        "read": cells.layout(),
        "spend": fitted.spend_.to_dict(),
        "rows": getattr(fitted, "count_", None),
        "warning": _of_large_delta(fitted),
        "written": str(out),
    }


def answer_queries(
    release: str | os.PathLike[str],
    table: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    header: str = "auto",
    mean: bool = False,
    force: bool = False,
    advance: Callable[..., None] = lambda *_: None,
) -> dict[str, Any]:
    """Write an answer for each line of a table: `sum,noise_std,error_std`, or `class`; whole or not at all.

    `noise_std` is the standard deviation of the privacy noise in the answer, `error_std` that of the whole error as
    `estimate_error` gives it. Where both the release and the table have names, columns are matched by name and others
    are left out; else they are taken in order.

    Raises:
        FileNotFoundError: no release or no table.
        FileExistsError: `out` is there and `force` is false.
        ValueError: a cell that is no number, columns of the release that the table lacks, or `mean` of classes.
    """
    fitted = load_private(release)
    classes = isinstance(fitted, PrivateSimilarityClassifier)
    if mean and classes:
        raise ValueError("--mean is for sums, and this release holds classes: leave it out")
    _check_free(out, force)
    cells = read_cells(table, header)
    order, left_out = _in_order(cells, fitted)
    by_name = cells.names is not None and hasattr(fitted, "feature_names_in_")
    if hasattr(fitted, "feature_names_in_"):
        del fitted.feature_names_in_  # the columns are put in order here
    count = 0
    columns = ["class"] if classes else ["mean" if mean else "sum", "noise_std", "error_std"]
    with atomic(out) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        while block := list(islice(cells.lines, _LINES)):
            rows = as_numbers(block, order, cells)
            writer.writerows(_answers(fitted, rows, mean))
            count += len(rows)
            advance(len(rows))
        if not count:
            raise ValueError(f"{cells.source} has a header and no rows: give a line of numbers for each query")
    return {
        "kind": type(fitted).__name__,
        "queries": count,
        "columns": columns,
        "by_name": by_name,
        "read": cells.layout(),
        "left_out": left_out,
        "written": str(out),
    }


def _check_metric(metric: str, bounds: Any, projections: int | None, of_kernels: dict[str, Any]) -> None:
    if given := [f"--{name}" for name, value in of_kernels.items() if value is not None]:
        raise ValueError(f"--metric releases sums of distances, and {', '.join(given)} is of kernels: leave one out")
    if projections is not None and metric != "l2":
        raise ValueError(f"--projections is of kernels and of --metric l2, and the metric is {metric}: leave it out")
    if bounds is None:
        raise ValueError(
            "--metric needs --low and --high, bounds of every column that are known without the table: bounds taken "
            "from private rows would tell their extremes"
        )


def _check_free(out: str | os.PathLike[str], force: bool) -> None:
    if Path(out).exists() and not force:
        raise FileExistsError(f"{out} is there already: choose another --out, or pass force=True (--force)")


def _rows(cells: Cells, label: int | None) -> tuple[Any, list[tuple[int, str]]]:
    """All rows as numbers, read in blocks, and, apart, the cells of the column of labels with their lines."""
    columns = [place for place in range(cells.width) if place != label]
    if not columns:
        raise ValueError(f"{cells.source} has a column of labels and no other: columns of numbers are wanted beside it")
    blocks, labels = [], []
    while block := list(islice(cells.lines, _LINES)):
        blocks.append(as_numbers(block, columns, cells))
        labels += [(line, row[label].strip()) for line, row in block if label is not None]
    if not blocks:
        raise ValueError(f"{cells.source} has a header and no rows: give a line of numbers for each row")
    return np.concatenate(blocks), labels


def _check_labels(labels: list[tuple[int, str]], classes: list[str], source: str, column: str | None) -> None:
    known = set(classes)
    for line, name in labels:
        if name not in known:
            there = "is not among --classes; add it there" if name else "is empty; fill it in, or leave the row out"
            raise ValueError(f"{source}, line {line}: the label in column {column} {there}")


def _of_large_delta(fitted: Any) -> str | None:
    """What to warn of if δ is not far below 1 over the number of rows, as the release tells it."""
    counts = getattr(fitted, "counts_", None)
    released = getattr(fitted, "count_", None if counts is None else float(counts.sum()))
    rows = _ROWS if released is None else max(released, 1.0)  # a noisy count may be negative
    if fitted.spend_.delta * rows <= _LARGE:
        return None
    told = f"{rows:.0f} rows (their number is not in the release)" if released is None else f"about {rows:.0f} rows"
    return (
        f"δ is {fitted.spend_.delta:g} for {told}; it must be far below 1 over their number, or whole rows may be told"
    )


def _answers(fitted: Any, rows: Any, mean: bool) -> list[list[Any]]:
    if isinstance(fitted, PrivateSimilarityClassifier):
        return [[each] for each in fitted.predict(rows).tolist()]
    if isinstance(fitted, PrivateKernelDensity):
        answer = fitted.kde if mean else fitted.sum
    else:
        answer = fitted.mean_distances if mean else fitted.sum_distances
    columns = (answer(rows), fitted.noise_std(rows, mean=mean), fitted.estimate_error(rows, mean=mean))
    return cast("list[list[Any]]", np.column_stack(columns).tolist())


def _in_order(cells: Cells, fitted: Any) -> tuple[list[int], list[str]]:
    """Where the release's columns stand in the table, and the names of the table's other columns.

    Raises:
        ValueError: the table lacks some of them, or their number differs where one of both has no names.
    """
    wanted = getattr(fitted, "feature_names_in_", None)
    if cells.names is None or wanted is None:
        if cells.width != fitted.n_features_in_:
            raise ValueError(
                f"{cells.source} has {cells.width} columns, and the release was built from {fitted.n_features_in_}: "
                "give the same columns, in the same order"
            )
        return list(range(cells.width)), []
    if missing := [name for name in wanted if name not in cells.names]:
        raise ValueError(
            f"{cells.source} lacks {_few(missing)} of the release's columns: it has {_names(cells)}; name its "
            "columns as the release's are named"
        )
    place = {name: at for at, name in enumerate(cells.names)}
    return [place[name] for name in wanted], [name for name in cells.names if name not in set(wanted)]


def _column(cells: Cells, wanted: str) -> int:
    if cells.names is None or wanted not in cells.names:
        raise ValueError(f"{cells.source} has no column {wanted}: it has {_names(cells)}")
    return cells.names.index(wanted)


def _names(cells: Cells) -> str:
    """The columns' names for a message; not where some look like numbers, as they may be a private row."""
    if cells.names is None:
        return "no names of columns"
    shown = cells.shown_names()
    return f"the columns {_few(shown)}" if shown else f"{cells.width} columns, and some names look like numbers"


def _few(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
