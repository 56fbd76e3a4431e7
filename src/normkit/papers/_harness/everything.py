"""`reproduce --all`: every paper one after the other; one that cannot run does not stop the others."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from normkit.extras import MissingExtraError
from normkit.papers._harness.evidence import Evidence
from normkit.papers._harness.paper import Paper
from normkit.papers._harness.registry import papers
from normkit.papers._harness.reproduce import reproduce
from normkit.papers._harness.runs import RunError

__all__ = ["Outcome", "reproduce_all"]


@dataclass(frozen=True)
class Outcome:
    """What became of one paper: its evidence, or in `error` why there is none.

    `skipped` is true where nothing went wrong, but this machine or scale lacks what the paper needs.
    """

    paper: Paper
    evidence: Evidence | None = None
    error: str = ""
    skipped: bool = False

    @property
    def summary(self) -> str:
        """One line: how many claims hold, fail and were not judged, or why there is no evidence."""
        if self.evidence is None:
            return self.error
        verdicts = [claim.verdict for claim in self.evidence.claims]
        counts = {verdict: verdicts.count(verdict) for verdict in ("holds", "fails", "not judged")}
        return ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)


def reproduce_all(
    *,
    scale: str = "embedded",
    seed: int = 0,
    out: str | Path | None = None,
    among: Iterable[Paper] | None = None,
    progress: Callable[[Paper, int, int], None] | None = None,
) -> Iterator[Outcome]:
    """Yield an outcome for every paper (or those in `among`) as it is done; arguments as in `reproduce`."""
    for paper in papers() if among is None else among:
        report = None if progress is None else _for(paper, progress)
        if not paper.runs_at(scale):
            yield Outcome(paper, error=f"has no run at scale {scale!r}", skipped=True)
            continue
        try:
            yield Outcome(paper, reproduce(paper, scale=scale, seed=seed, out=out, progress=report))
        except MissingExtraError as error:
            yield Outcome(paper, error=str(error), skipped=True)
        except RunError as error:
            yield Outcome(paper, error=str(error))


def _for(paper: Paper, progress: Callable[[Paper, int, int], None]) -> Callable[[int, int], None]:
    return lambda done, total: progress(paper, done, total)
