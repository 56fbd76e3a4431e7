"""What a paper is: its metadata, and the run, judge and invariance functions that its module marks."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

__all__ = ["SCALES", "Context", "Invariance", "Judge", "Paper", "Run", "RunFunction"]

SCALES = ("smoke", "embedded", "full")

T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    """What a run is told: the scale it runs at and its seed. torch, numpy and random are seeded with it beforehand."""

    scale: str
    seed: int

    def pick(self, *, smoke: T, embedded: T, full: T | None = None) -> T:
        """The value for this scale; `full` falls back to `embedded` where the run is the same at both."""
        if self.scale == "smoke":
            return smoke
        return full if self.scale == "full" and full is not None else embedded

    def generator(self) -> torch.Generator:
        """A fresh CPU generator seeded with this run's seed: every call starts the same stream of numbers."""
        return torch.Generator().manual_seed(self.seed)


RunFunction = Callable[[Context], list[dict[str, Any]]]
Judge = Callable[..., None]
R = TypeVar("R", bound=RunFunction)
J = TypeVar("J", bound=Judge)


@dataclass(frozen=True)
class Run:
    """One measuring function at one scale; called once per seed.

    `minutes` is its budget on one core, per seed. A run that is `alone` has nothing of the same job beside it: for
    timings, which another process on the same memory would disturb.
    """

    function: RunFunction
    scale: str
    seeds: int
    minutes: float | int
    alone: bool = False

    @property
    def name(self) -> str:
        """The function's name: the runs of one scale are told apart by it."""
        return self.function.__name__


@dataclass(frozen=True)
class Invariance:
    """An exact blindness of the remedy: `function(generator)` returns what it gives with and without the nuisance."""

    function: Callable[[torch.Generator], tuple[Tensor, Tensor]]
    tolerance: float

    @property
    def statement(self) -> str:
        """The first line of the function's docstring: what the remedy is blind to."""
        return (self.function.__doc__ or self.function.__name__).strip().splitlines()[0].rstrip(".")

    def gap(self, seed: int = 0) -> float:
        """max|with − without| / max(1, max|without|) for inputs drawn from `seed`; NaN where either holds one.

        Raises:
            ValueError: the two tensors differ in shape, or `without` is empty or constant (then nothing is tested).
        """
        changed, plain = self.function(torch.Generator().manual_seed(seed))
        if changed.shape != plain.shape:
            raise ValueError(f"{self.function.__name__}: shapes differ, {(*changed.shape,)} and {(*plain.shape,)}")
        if plain.numel() < 2 or bool((plain == plain.flatten()[0]).all()):
            raise ValueError(f"{self.function.__name__}: the output is empty or constant, so nothing is compared")
        return ((changed - plain).abs().max() / plain.abs().max().clamp(min=1.0)).item()


@dataclass(eq=False, kw_only=True)
class Paper:
    """A published method: the nuisance it takes out, the pathology it cures, and the runs that check its claims.

    Args:
        slug: the name on the command line; the module's name with hyphens.
        title, authors, year, arxiv: the citation; `arxiv` is the number, or None where there is none.
        nuisance: what the remedy makes the result independent of.
        pathology, remedy: one sentence each.
        provides: dotted names of the public objects that implement it, loaded only when asked for.
        probe: slug of the probe in `normkit.diagnosis` that measures the pathology, if there is one.
        rule: slug of the rule in `normkit.conversion` that applies the remedy, if there is one.
        extra: the extra of normkit that its runs need (`pip install "normkit[extra]"`), if any.
    """

    slug: str
    title: str
    authors: tuple[str, ...]
    year: int
    arxiv: str | None
    nuisance: str
    pathology: str
    remedy: str
    provides: tuple[str, ...]
    probe: str | None = None
    rule: str | None = None
    extra: str | None = None
    runs: list[Run] = field(default_factory=list, init=False, repr=False)
    invariances: list[Invariance] = field(default_factory=list, init=False, repr=False)
    judge_function: Judge | None = field(default=None, init=False, repr=False)

    def run(self, *, scale: str, minutes: float | int, seeds: int = 1, alone: bool = False) -> Callable[[R], R]:
        """Mark a function `(ctx) -> list[dict]` of plain figures as a run at `scale`; decorators may be stacked.

        Args:
            scale: "smoke", "embedded" or "full".
            minutes: what one seed may take on one core.
            seeds: how often it is called, with seeds in a row.
            alone: let nothing of the same job run beside it; for timings.

        Raises:
            ValueError: an unknown scale, fewer than one seed, or a second run of that name at that scale.
        """
        if scale not in SCALES:
            raise ValueError(f"{self.slug}: scale {scale!r} is none of {', '.join(SCALES)}")
        if seeds < 1:
            raise ValueError(f"{self.slug}: a run needs at least one seed, got {seeds}")

        def mark(function: R) -> R:
            run = Run(function, scale, seeds, minutes, alone)
            if any(other.name == run.name for other in self.runs_at(scale)):
                raise ValueError(f"{self.slug}: there is already a run {run.name!r} at scale {scale!r}")
            self.runs.append(run)
            return function

        return mark

    def judge(self, function: J) -> J:
        """Mark the one function `(records, claim, show)` that turns figures into claims.

        Raises:
            ValueError: the paper has a judge already.
        """
        if self.judge_function is not None:
            raise ValueError(f"{self.slug}: {self.judge_function.__name__!r} judges it already; a paper has one judge")
        self.judge_function = function
        return function

    def invariance(
        self, *, tolerance: float
    ) -> Callable[
        [Callable[[torch.Generator], tuple[Tensor, Tensor]]], Callable[[torch.Generator], tuple[Tensor, Tensor]]
    ]:
        """Mark a function `(generator) -> (with, without)` the nuisance; they agree within `tolerance` (relative)."""

        def mark(
            function: Callable[[torch.Generator], tuple[Tensor, Tensor]],
        ) -> Callable[[torch.Generator], tuple[Tensor, Tensor]]:
            self.invariances.append(Invariance(function, tolerance))
            return function

        return mark

    def runs_at(self, scale: str) -> list[Run]:
        """The runs marked for `scale`, in the order of the module; several share one list of records."""
        return [run for run in self.runs if run.scale == scale]

    def to_dict(self) -> dict[str, Any]:
        """What `normkit list --json` says of the paper: plain values only."""
        fields = ("slug", "title", "authors", "year", "arxiv", "nuisance", "pathology", "remedy", "provides")
        card: dict[str, Any] = {name: getattr(self, name) for name in (*fields, "probe", "rule", "extra")}
        return card | {"authors": list(self.authors), "provides": list(self.provides)}
