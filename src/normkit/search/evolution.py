"""The search: random graphs until a few have scores, then mutations of tournament winners from a sliding window.

The result follows from the seed alone. Proposal i draws from a generator of its own, (seed, i), and proposals are made
in generations: all of one see the same window, and what runs beside what inside one changes nothing. So any number of
processes finds the same candidates, and a search that was killed goes on from its log to the same end.

Source: Liu et al. 2020, "Evolving Normalization-Activation Layers", arXiv:2004.02967, section 3: tournaments of 5 % of
the newest 2500 there; the sampler `tree` and the small defaults here are this project's.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from normkit.nn.graph import Graph
from normkit.search.architectures import Architecture, chosen, described
from normkit.search.candidate import FATES, TRAINED, Candidate, front, winner
from normkit.search.ledger import Ledger
from normkit.search.protocol import Protocol
from normkit.search.sampling import SAMPLERS, mutate, operations
from normkit.search.task import Task
from normkit.search.trial import Outcome, probe, try_out
from normkit.search.workers import results

__all__ = ["Evolution", "Search"]

SMALL = Protocol()


@dataclass(frozen=True)
class Evolution:
    """How proposals are made; the defaults are those of the small search.

    Args:
        population: random graphs are drawn until so many candidates have scores.
        window: parents come from the newest so many.
        tournament: members of a tournament; its winner is mutated.
        generation: proposals that reach a network and are made from one state of the window; as many can run at once.
        selection: "pareto" for a random member of the tournament's Pareto front, "average" for its best mean score.
        focus: probability of a mutation among the nodes that the output depends on (paper: 0).
        whole: probability that a mutation redraws operation and operands (paper: 1).

    Raises:
        ValueError: a count below 1 or an unknown selection.
    """

    population: int = 4
    window: int = 24
    tournament: int = 3
    generation: int = 4
    selection: str = "pareto"
    focus: float = 0.7
    whole: float = 0.5

    def __post_init__(self) -> None:
        for name in ("population", "window", "tournament", "generation"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be at least 1")
        if self.selection not in ("pareto", "average"):
            raise ValueError(f"selection is {self.selection!r}: 'pareto' and 'average' are there")


class Search:
    """Evolution of layers that normalise and activate.

    Args:
        train: pair (images (N, C, H, W), labels (N,)) of arrays or tensors.
        val: the same, on which accuracy is taken.
        ops: "B" for all operations, "S" for those that look at one sample alone, or a list of ids or names.
        architectures: how many of `ARCHITECTURES`, their names, or a dict of your own (a `functools.partial` of one of
            them gives its size); candidates are tested on the first and scored on all.
        sampler: "tree" or "uniform" (the paper's).
        budget_evaluations: the search ends with the generation in which so many candidates have been trained …
        budget_proposals: … or after so many proposals, trained or not (default 50 for each evaluation).
        seed: of everything that is drawn, the networks' weights included.
        n_jobs: processes, as joblib takes it; −1 is one for each core. Does not change the result.
        cluster: address of a Ray cluster for joblib's Ray backend, such as "auto"; None for this machine.
        protocol: budgets and thresholds of a candidate's test.
        evolution: how proposals are made.
        device: where networks are trained. On a GPU results can differ in the last digits from run to run.

    Attributes:
        candidates: every proposal so far with its fate, in order.

    Raises:
        ValueError: data that are no `Task`, an unknown name, a budget that is not positive, or a seed below 0.
    """

    def __init__(
        self,
        train: Any,
        val: Any,
        ops: str | Sequence[int | str] = "B",
        architectures: int | list[str] | Mapping[str, Architecture] = 3,
        sampler: str = "tree",
        budget_evaluations: int = 200,
        seed: int = 0,
        n_jobs: int = 1,
        *,
        budget_proposals: int | None = None,
        cluster: str | None = None,
        protocol: Protocol = SMALL,
        evolution: Evolution | None = None,
        device: str = "cpu",
    ) -> None:
        if sampler not in SAMPLERS:
            raise ValueError(f"sampler is {sampler!r}: {' and '.join(map(repr, SAMPLERS))} are there")
        self.budgets = {
            "budget_evaluations": budget_evaluations,
            "budget_proposals": 50 * budget_evaluations if budget_proposals is None else budget_proposals,
        }
        for name, count in self.budgets.items():
            if count < 1:
                raise ValueError(f"{name} is {count}: it must be at least 1")
        if seed < 0:
            raise ValueError(f"seed is {seed}: it must be 0 or more")
        self.task = Task.of(train, val, device)
        self.ops = operations(ops)
        self.architectures = chosen(architectures)
        self.sampler = sampler
        self.seed = seed
        self.n_jobs = n_jobs
        self.cluster = cluster
        self.protocol = protocol
        self.evolution = evolution or Evolution()
        self.candidates: list[Candidate] = []

    def run(
        self, path: str | os.PathLike[str] | None = None, *, progress: Callable[[int, int], None] | None = None
    ) -> "Search":
        """Search until a budget is used up.

        Args:
            path: a new file for the log, one line of JSON a candidate; None keeps none.
            progress: called with (candidates trained, budget) after each generation.

        Raises:
            FileExistsError: `path` is there already: `resume` goes on with it.
            OSError: it cannot be written.
        """
        if path is not None and Path(path).exists():
            raise FileExistsError(f"{path} is there already: resume(path) goes on with it, or name a new file")
        return self._run(Ledger(path, self.settings), progress)

    def resume(self, path: str | os.PathLike[str], *, progress: Callable[[int, int], None] | None = None) -> "Search":
        """Go on from the log of a search that was stopped; the end is that of one which was not.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no log, or of a search with other settings.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path}: no such log of a search")
        return self._run(Ledger(path, self.settings), progress)

    @property
    def settings(self) -> dict[str, Any]:
        """All that the result follows from, as plain values; the budgets do not belong to it, so a log can grow."""
        return {
            "data": self.task.fingerprint,
            "device": self.task.device,
            "ops": list(self.ops),
            "architectures": {name: described(net) for name, net in self.architectures.items()},
            "sampler": self.sampler,
            "seed": self.seed,
            "protocol": asdict(replace(self.protocol)) | {"spread": list(self.protocol.spread)},
            "evolution": asdict(self.evolution),
        }

    @property
    def scored(self) -> list[Candidate]:
        """The candidates that have scores, in order."""
        return [each for each in self.candidates if each.fate == "scored"]

    @property
    def fates(self) -> dict[str, int]:
        """How many candidates met each fate."""
        met = [each.fate for each in self.candidates]
        return {fate: met.count(fate) for fate in FATES}

    def pareto(self) -> list[Candidate]:
        """The candidates whose scores no other one dominates."""
        return front(self.scored)

    def best(self, k: int = 1) -> list[Candidate]:
        """The `k` candidates with the highest mean score. A score is noisy: `rerank` before you report one."""
        return sorted(self.scored, key=lambda each: (-each.mean, each.index))[:k]

    def _run(self, ledger: Ledger, progress: Callable[[int, int], None] | None) -> "Search":
        self.candidates = []
        seen: dict[str, int] = {}
        evaluations, proposals = self.budgets.values()
        trained = 0
        while trained < evaluations and len(self.candidates) < proposals:
            generation, waiting = self._propose(seen, proposals)
            self._check(generation + waiting, ledger)
            ledger.add(*generation)
            self._try(waiting, ledger)
            done = [ledger.candidates[each.index] for each in waiting]
            self.candidates += sorted(generation + done, key=lambda each: each.index)
            trained += sum(each.fate in TRAINED for each in done)
            if progress is not None:
                progress(min(trained, evaluations), evaluations)
        return self

    def _propose(self, seen: dict[str, int], proposals: int) -> tuple[list[Candidate], list[Candidate]]:
        """The next generation: those whose fate is known at once, and those that must be tried in a network."""
        known: list[Candidate] = []
        waiting: list[Candidate] = []
        scored = self.scored[-self.evolution.window :]
        start = len(self.candidates)
        while len(waiting) < self.evolution.generation and start + len(known) + len(waiting) < proposals:
            index = start + len(known) + len(waiting)
            graph, parent = self._proposal(np.random.default_rng([self.seed, index]), scored)
            key = probe(graph, self.protocol.groups) if graph.reads_input else None
            if key is None:
                fate = "invalid" if graph.reads_input else "no-input"
                known.append(Candidate(index, graph, fate, parent=parent))
            elif key in seen:
                known.append(Candidate(index, graph, "repeat", parent=parent, same_as=seen[key]))
            else:
                seen[key] = index
                waiting.append(Candidate(index, graph, "waiting", parent=parent))
        return known, waiting

    def _proposal(self, rng: np.random.Generator, scored: list[Candidate]) -> tuple[Graph, int | None]:
        if len(scored) < self.evolution.population:
            return SAMPLERS[self.sampler](rng, self.ops), None
        parent = winner(scored, rng, self.evolution.tournament, self.evolution.selection)
        options = self.evolution
        return mutate(parent.graph, rng, self.ops, focus=options.focus, whole=options.whole), parent.index

    def _check(self, proposed: list[Candidate], ledger: Ledger) -> None:
        for each in proposed:
            kept = ledger.candidates.get(each.index)
            if kept is not None and (kept.graph, kept.parent) != (each.graph, each.parent):
                raise ValueError(
                    f"{ledger.path}: candidate {each.index} is not the one that these settings propose (a log of "
                    "another version?): start anew with another file"
                )

    def _try(self, waiting: list[Candidate], ledger: Ledger) -> None:
        """Try out what the log does not hold yet; each is kept as it ends."""
        missing = [each for each in waiting if each.index not in ledger.candidates]
        test = partial(_outcome, self.architectures, self.task, self.protocol, self.seed)
        with closing(results(test, missing, self.n_jobs, self.cluster)) as outcomes:
            for candidate, outcome in outcomes:
                ledger.add(replace(candidate, fate=outcome.fate, scores=outcome.scores))


def _outcome(
    architectures: Mapping[str, Architecture], task: Task, protocol: Protocol, seed: int, candidate: Candidate
) -> Outcome:
    return try_out(candidate.graph, architectures, task, protocol, seed)
