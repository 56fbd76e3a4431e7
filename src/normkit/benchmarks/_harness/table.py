"""The table that `bench` returns: its records, how they read, how they are kept, how two of them compare."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from normkit.benchmarks._harness.record import Record
from normkit.data.files import write_atomically
from normkit.report import envelope

__all__ = ["Change", "Table"]

_REGRESSION = 0.10


class Change(NamedTuple):
    """One ratio in two runs; `regression` where it fell by more than 10 % and the two intervals do not meet."""

    record: Record
    before: float
    after: float
    regression: bool


@dataclass(frozen=True)
class Table:
    """What `bench` measured.

    Attributes:
        records: one row per variant, setting and peer.
        machine: what they were measured on.
        device: `cpu`, `cuda` or `all`.
        seconds: wall time of the whole run, s.
    """

    records: tuple[Record, ...]
    machine: Mapping[str, Any]
    device: str = "cpu"
    seconds: float = 0.0

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def payload(self) -> dict[str, Any]:
        """`machine` and `results`, as the JSON object has them."""
        return {"machine": dict(self.machine), "results": [record.to_dict() for record in self.records]}

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `normkit bench --json`."""
        return envelope(self.payload, seconds=self.seconds, device=self.device)

    def save(self, folder: str | Path) -> Path:
        """Write `bench.json`, `roofline.svg`, `roofline.png` and `report.html` into `folder`; returns the folder."""
        from normkit.benchmarks._harness.page import page, roofline, write_figure

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "bench.json", json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n")
        write_figure(roofline(self), folder)
        page(self).write(folder / "report.html")
        return folder

    @classmethod
    def read(cls, path: str | Path) -> "Table":
        """The table that a `bench.json` holds.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is no JSON object of `normkit bench`.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file; a bench.json of `normkit bench --out` is wanted")
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            rows, machine = found["results"], found["machine"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is no JSON object of `normkit bench`: {error!r}") from None
        records = tuple(Record.from_dict(row) for row in rows)
        return cls(records, machine, found.get("device", "cpu"), found.get("seconds", 0.0))

    def against(self, before: "Table") -> list[Change]:
        """The ratios that both tables hold, this one's as `after`; regressions first."""
        old = {record.key: record for record in _with_ratio(before)}
        pairs = [(record, old[record.key]) for record in _with_ratio(self) if record.key in old]
        return sorted((_change(now, then) for now, then in pairs), key=lambda change: not change.regression)


def _with_ratio(records: Iterable[Record]) -> list[Record]:
    return [record for record in records if record.ratio_median is not None and record.ratio_ci is not None]


def _change(now: Record, then: Record) -> Change:
    assert now.ratio_median is not None
    assert then.ratio_median is not None
    assert now.ratio_ci is not None
    assert then.ratio_ci is not None
    fell = now.ratio_median < (1 - _REGRESSION) * then.ratio_median
    apart = now.ratio_ci[1] < then.ratio_ci[0]
    return Change(now, then.ratio_median, now.ratio_median, fell and apart)
