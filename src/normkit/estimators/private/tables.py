"""Releases and queries by files: a CSV in, a release out; a CSV of queries in, a CSV of answers out, in blocks."""

import csv
import os
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from normkit.data.files import atomic
from normkit.estimators.private.classifier import PrivateSimilarityClassifier
from normkit.estimators.private.density import PrivateKernelDensity
from normkit.estimators.private.distance import PrivateDistance
from normkit.estimators.private.files import load_private

__all__ = ["answer_queries", "build_release"]

_LINES = 20_000  # queries read at once


def build_release(
    table: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    kernel: str | None = None,
    metric: str | None = None,
    bandwidth: Any = 1.0,
    features: int = 512,
    projections: int | None = None,
    bounds: Any = None,
    label: str | None = None,
    classes: list[str] | None = None,
    seed: int = 0,
    force: bool = False,
    **budget: Any,
) -> dict[str, Any]:
    """Fit to the rows of a CSV, write the release to `out`, and say what was spent.

    Raises:
        FileNotFoundError: there is no such table.
        FileExistsError: `out` is there and `force` is false; nothing is spent.
        ValueError: a cell that is no number (named by line and column), or options that do not go together.
    """
    if metric is not None and (kernel is not None or label is not None):
        raise ValueError("--metric releases sums of distances: leave --kernel and --label out, or leave --metric out")
    if label is not None and not classes:
        raise ValueError(f"--label {label} needs --classes, all labels that could occur: whether one does is private")
    if label is None and kernel == "inner":
        raise ValueError("--kernel inner is for classes: give --label and --classes")
    _check_free(out, force)
    kernels = {"bandwidth": bandwidth, "n_features": features, "n_projections": projections, "random_state": seed}
    names, lines = _lines(table)
    at = _column(names, label, table) if label is not None else None
    rows, labels = _split(list(lines), at, table)
    if metric is not None:
        fitted: Any = PrivateDistance(metric, bounds=bounds, random_state=seed, **budget).fit(rows)
    elif at is not None:
        classifier = PrivateSimilarityClassifier(kernel or "gaussian", classes=classes, **kernels, **budget)
        fitted = classifier.fit(rows, labels)
    else:
        fitted = PrivateKernelDensity(kernel or "gaussian", **kernels, **budget).fit(rows)
    if names is not None:
        fitted.feature_names_in_ = np.asarray([name for i, name in enumerate(names) if i != at], dtype=object)
    fitted.save(out)
    arrays = (getattr(fitted, name) for name in fitted._summed())
    numbers = sum(int(np.size(array)) for array in arrays)
    return {
        "kind": type(fitted).__name__,
        "numbers": numbers,
        "columns": fitted.n_features_in_,
        "spend": fitted.spend_.to_dict(),
        "written": str(out),
    }


def answer_queries(
    release: str | os.PathLike[str],
    table: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    mean: bool = False,
    force: bool = False,
    advance: Callable[..., None] = lambda *_: None,
) -> dict[str, Any]:
    """Write an answer for each line of a CSV: `sum,noise_std`, or `class` for a classifier; whole or not at all.

    Raises:
        FileNotFoundError: no release or no table.
        FileExistsError: `out` is there and `force` is false.
        ValueError: a cell that is no number, other columns than the release's, or `mean` of classes.
    """
    fitted = load_private(release)
    classes = isinstance(fitted, PrivateSimilarityClassifier)
    if mean and classes:
        raise ValueError("--mean is for sums, and this release holds classes: leave it out")
    _check_free(out, force)
    names, lines = _lines(table)
    order = _in_order(names, fitted, table)
    count, divisor = 0, max(fitted.count_, 1.0) if mean else 1.0
    with atomic(out) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["class"] if classes else ["mean" if mean else "sum", "noise_std"])
        while block := list(islice(lines, _LINES)):
            rows, _ = _split(block, None, table)
            writer.writerows(_answers(fitted, rows[:, order] if order is not None else rows, divisor))
            count += len(rows)
            advance(len(rows))
    return {"kind": type(fitted).__name__, "queries": count, "written": str(out)}


def _check_free(out: str | os.PathLike[str], force: bool) -> None:
    if Path(out).exists() and not force:
        raise FileExistsError(f"{out} is there already: choose another --out, or pass force=True (--force)")


def _answers(fitted: Any, rows: Any, divisor: float) -> list[list[Any]]:
    if hasattr(fitted, "feature_names_in_"):
        del fitted.feature_names_in_  # the columns were put in order already
    if isinstance(fitted, PrivateSimilarityClassifier):
        return [[each] for each in fitted.predict(rows).tolist()]
    sums = fitted.sum(rows) if isinstance(fitted, PrivateKernelDensity) else fitted.sum_distances(rows)
    return (np.column_stack((sums, fitted.noise_std(rows))) / divisor).tolist()


def _in_order(names: list[str] | None, fitted: Any, table: Any) -> list[int] | None:
    """Where the release's columns stand in the queries' table; None where either has no names."""
    wanted = getattr(fitted, "feature_names_in_", None)
    if names is None or wanted is None:
        return None
    return [_column(names, name, table) for name in wanted]


def _lines(table: str | os.PathLike[str]) -> tuple[list[str] | None, Iterator[tuple[int, list[str]]]]:
    """Names of the columns, if no cell of the first line is a number, and the lines of cells with their numbers."""
    path = Path(table)
    if not path.is_file():
        raise FileNotFoundError(f"there is no table {path}")
    reader = _numbered(path)
    first = next(reader, None)
    if first is None:
        raise ValueError(f"{path} is empty: a line of numbers for each row is wanted")
    if all(_number(cell) is None for cell in first[1]):
        return [cell.strip() for cell in first[1]], reader
    return None, chain([first], reader)


def _numbered(path: Path) -> Iterator[tuple[int, list[str]]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        for cells in reader:
            if cells:
                yield reader.line_num, cells


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _column(names: list[str] | None, wanted: str, table: Any) -> int:
    if names is None or wanted not in names:
        there = "no names of columns" if names is None else f"the columns {', '.join(names)}"
        raise ValueError(f"{table} has no column {wanted}: it has {there}")
    return names.index(wanted)


def _split(block: list[tuple[int, list[str]]], label: int | None, table: Any) -> tuple[Any, list[str]]:
    """The numbers of the lines and, apart, the cells of the column of labels."""
    labels = [cells[label].strip() for _, cells in block if label is not None and label < len(cells)]
    numbers = [(line, [c for i, c in enumerate(cells) if i != label]) for line, cells in block]
    try:
        return np.asarray([cells for _, cells in numbers], dtype=np.float64).reshape(len(numbers), -1), labels
    except ValueError:
        raise ValueError(f"{table}, {_first_fault(numbers)}") from None


def _first_fault(lines: list[tuple[int, list[str]]]) -> str:
    width = len(lines[0][1])
    for line, cells in lines:
        if len(cells) != width:
            return f"line {line} has {len(cells)} numbers, and the first has {width}"
        for column, cell in enumerate(cells, start=1):
            if _number(cell) is None:
                return f"line {line}, column {column} is no number: every cell but a label must be one"
    return "the lines hold what is no number"
