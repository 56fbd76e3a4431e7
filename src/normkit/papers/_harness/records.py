"""The figures of a paper's runs: a list of plain dicts with the few questions that judges ask."""

from statistics import fmean
from typing import Any

__all__ = ["Records"]


class Records(list[dict[str, Any]]):
    """Records of all runs and seeds at one scale; each holds `run` and `seed` beside the figures of the run."""

    def where(self, **fields: Any) -> "Records":
        """The records whose fields have these values."""
        return Records(
            record for record in self if all(record.get(name, _ABSENT) == wanted for name, wanted in fields.items())
        )

    def values(self, figure: str, **fields: Any) -> list[Any]:
        """The values of `figure` in the records that match, in order (seed after seed).

        Raises:
            LookupError: no record that matches holds the figure.
        """
        found = [record[figure] for record in self.where(**fields) if figure in record]
        if not found:
            asked = ", ".join(f"{name}={wanted!r}" for name, wanted in fields.items()) or "no condition"
            raise LookupError(f"no record holds {figure!r} with {asked}")
        return found

    def mean(self, figure: str, **fields: Any) -> float:
        """Mean of `figure` over the records that match."""
        return fmean(self.values(figure, **fields))

    def largest(self, figure: str, **fields: Any) -> float:
        """Largest `figure` among the records that match; NaN where one of them is NaN."""
        return _worst(self.values(figure, **fields), max)

    def smallest(self, figure: str, **fields: Any) -> float:
        """Smallest `figure` among the records that match; NaN where one of them is NaN."""
        return _worst(self.values(figure, **fields), min)

    def distinct(self, field: str) -> list[Any]:
        """The values that `field` takes, each once, in the order of their first appearance."""
        return list(dict.fromkeys(record[field] for record in self if field in record))

    def groups(self, *fields: str) -> "dict[tuple[Any, ...], Records]":
        """The records that hold all `fields`, split by their values, in the order of their first appearance."""
        split: dict[tuple[Any, ...], Records] = {}
        for record in self:
            if all(name in record for name in fields):
                split.setdefault(tuple(record[name] for name in fields), Records()).append(record)
        return split

    @property
    def seeds(self) -> int:
        """How many seeds the records come from."""
        return len({record["seed"] for record in self if "seed" in record})


_ABSENT = object()


def _worst(figures: list[float], choose: Any) -> float:
    # max() and min() drop a NaN or keep it depending on its place; a figure that is NaN must never be lost.
    return next((figure for figure in figures if figure != figure), choose(figures))
