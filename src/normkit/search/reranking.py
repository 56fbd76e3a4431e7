"""A second look at the best candidates: longer training, fresh seeds, networks that the search has not seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

from torch import nn

from normkit.nn import GraphNorm2d
from normkit.nn.graph import Graph
from normkit.search.architectures import Architecture, Layer, chosen
from normkit.search.protocol import Protocol
from normkit.search.task import Task
from normkit.search.workers import results

__all__ = ["LONGER", "Ranked", "judge", "rerank"]

LONGER = Protocol().longer()
"""The budget of a second look where the search is the small one: 100 steps of 64."""


@dataclass(frozen=True)
class Ranked:
    """A graph with its accuracy on each architecture, a mean over seeds."""

    graph: Graph
    scores: dict[str, float]

    @property
    def mean(self) -> float:
        """The mean over the architectures."""
        return fmean(self.scores.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain values: formula, nodes, mean, and scores by architecture."""
        formula, nodes = self.graph.formula(), self.graph.to_list()
        return {"formula": formula, "nodes": nodes, "mean": self.mean, "scores": self.scores}


def rerank(
    graphs: Sequence[Graph],
    task: Task,
    *,
    architectures: int | list[str] | Mapping[str, Architecture] = 3,
    seeds: Sequence[int] = (101, 102, 103),
    protocol: Protocol = LONGER,
    n_jobs: int = 1,
    cluster: str | None = None,
) -> list[Ranked]:
    """Train every graph anew on every architecture with every seed; the best mean first.

    Accuracy after a search's few steps is noisy: this, not the search's score, is what can be reported.

    Args:
        graphs: as of `Search.best`; three to five.
        task: as `Search.task`.
        architectures: as of `Search`.
        seeds: other ones than the search's.
        protocol: budget of a training.
        n_jobs: as of `Search`.
        cluster: as of `Search`.

    Raises:
        ValueError: no graph, no seed or an unknown architecture.
    """
    if not graphs or not seeds:
        raise ValueError(f"{len(graphs)} graphs and {len(seeds)} seeds: at least one of each is needed")
    nets = chosen(architectures)
    plan = [(graph, name, seed) for graph in dict.fromkeys(graphs) for name in nets for seed in seeds]
    found = dict(results(partial(_accuracy, nets, task, protocol), plan, n_jobs, cluster))
    ranked = [
        Ranked(graph, {name: fmean(found[graph, name, seed] for seed in seeds) for name in nets})
        for graph in dict.fromkeys(graphs)
    ]
    return sorted(ranked, key=lambda each: -each.mean)


def judge(
    layer: Layer,
    task: Task,
    *,
    architectures: int | list[str] | Mapping[str, Architecture] = 3,
    seeds: Sequence[int] = (101, 102, 103),
    protocol: Protocol = LONGER,
) -> dict[str, float]:
    """The same for one layer that is no graph, such as BatchNorm and ReLU: mean accuracy by architecture."""
    scores = {}
    for name, architecture in chosen(architectures).items():
        with task.own_randomness():
            scores[name] = fmean(task.accuracy(architecture, layer, protocol, seed) for seed in seeds)
    return scores


def _accuracy(nets: Mapping[str, Architecture], task: Task, protocol: Protocol, case: tuple[Graph, str, int]) -> float:
    graph, name, seed = case

    def layer(channels: int) -> nn.Module:
        return GraphNorm2d(graph, channels, protocol.groups)

    with task.own_randomness():
        return task.accuracy(nets[name], layer, protocol, seed)
