"""What a comparison says: for each method its quality at its best and at its worst learning rate, and its cost."""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from normkit.comparison.interval import Interval, interval
from normkit.comparison.ledger import Run

__all__ = ["Comparison", "MethodResult"]


@dataclass(frozen=True)
class MethodResult:
    """One method at one batch size.

    - `quality_best`, `quality_worst`: mean and 95 % interval over the seeds at the rates of the best and worst mean.
      The best rate is chosen on the data that it is judged on, for every method alike.
    - `gain`: the same interval for quality minus the first method's quality, seed by seed, each at its best rate; None
      for the first method.
    - `curve`: (rate, interval, diverged runs) for each rate, rates ascending.
    - `step_seconds`: median of interleaved whole steps; `peak_bytes`: see `normkit.comparison.cost`.
    """

    name: str
    batch_size: int
    best_lr: float
    worst_lr: float
    quality_best: Interval
    quality_worst: Interval
    gain: Interval | None
    curve: list[tuple[float, Interval, int]]
    step_seconds: float
    peak_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the JSON of `normkit compare`."""
        return {
            "name": self.name,
            "batch_size": self.batch_size,
            "best_lr": self.best_lr,
            "worst_lr": self.worst_lr,
            "quality_best": self.quality_best.to_dict(),
            "quality_worst": self.quality_worst.to_dict(),
            "gain": None if self.gain is None else self.gain.to_dict(),
            "curve": [{"lr": lr, **each.to_dict(), "diverged": bad} for lr, each, bad in self.curve],
            "step_seconds": self.step_seconds,
            "peak_bytes": self.peak_bytes,
        }


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`: `methods` (one entry for each method and batch size), every run, and the settings."""

    methods: list[MethodResult]
    runs: list[Run]
    settings: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As plain figures: `{"methods": […], "settings": {…}}`."""
        return {"methods": [method.to_dict() for method in self.methods], "settings": self.settings}

    def to_json(self) -> str:
        """`to_dict` as JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def to_frame(self) -> Any:
        """Every run as a row of a pandas DataFrame.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        from normkit.extras import require

        pandas = require("pandas")
        rows = [{**vars(run.key), **{k: v for k, v in vars(run).items() if k != "key"}} for run in self.runs]
        return pandas.DataFrame(rows)

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write the page with curves and table to `path`."""
        from normkit.comparison.page import page

        return page(self).write(Path(path))

    def __str__(self) -> str:
        from normkit.report import plain

        return plain(self)

    def __rich__(self) -> RenderableType:
        from normkit.comparison.page import table

        return table(self)


def method_result(
    name: str,
    batch_size: int,
    runs: Iterable[Run],
    first: Iterable[Run] | None,
    *,
    step_seconds: float,
    peak_bytes: int,
) -> MethodResult:
    """Sum up the runs of one method; `first` are those of the method that it is compared with."""
    by_rate = _by_rate(runs)
    curve = [
        (lr, interval([run.quality for run in group]), sum(run.diverged for run in group))
        for lr, group in sorted(by_rate.items())
    ]
    best = max(curve, key=lambda point: point[1].mean)
    worst = min(curve, key=lambda point: point[1].mean)
    return MethodResult(
        name,
        batch_size,
        best[0],
        worst[0],
        best[1],
        worst[1],
        None if first is None else _gain(by_rate[best[0]], _at_best(first)),
        curve,
        step_seconds,
        peak_bytes,
    )


def _by_rate(runs: Iterable[Run]) -> dict[float, list[Run]]:
    grouped: dict[float, list[Run]] = {}
    for run in runs:
        grouped.setdefault(run.key.lr, []).append(run)
    return grouped


def _at_best(runs: Iterable[Run]) -> list[Run]:
    return max(_by_rate(runs).values(), key=lambda group: sum(run.quality for run in group) / len(group))


def _gain(ours: list[Run], theirs: list[Run]) -> Interval:
    before = {run.key.seed: run.quality for run in theirs}
    return interval([run.quality - before[run.key.seed] for run in ours])
