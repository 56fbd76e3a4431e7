"""A candidate of a search and what became of it, and the choices among candidates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from normkit.nn.graph import Graph

__all__ = ["FATES", "Candidate", "dominates", "front", "winner"]

FATES = {
    "no-input": "the output does not depend on x",
    "invalid": "on random input the output is not finite, constant, or not of x's shape",
    "repeat": "it computes what an earlier candidate computes",
    "signal": "a fresh network with it does not tell samples apart",
    "quality": "after a short training the network is no better than chance",
    "unstable": "gradient ascent blows up the norm of the gradient",
    "scored": "it has an accuracy on every architecture",
}
"""What can become of a candidate, cheapest test first."""

TRAINED = ("quality", "unstable", "scored")
"""Fates of candidates that were trained."""


@dataclass(frozen=True)
class Candidate:
    """One proposal of a search.

    Args:
        index: its place among the proposals.
        graph: what it computes.
        fate: a key of `FATES`.
        scores: accuracy on each architecture; empty unless it was scored.
        parent: index of the candidate that it is a mutation of; None for a random graph.
        same_as: of a repeat, the index of the candidate that computes the same.
    """

    index: int
    graph: Graph
    fate: str
    scores: tuple[float, ...] = ()
    parent: int | None = None
    same_as: int | None = None

    @property
    def mean(self) -> float:
        """The mean of the scores."""
        return sum(self.scores) / len(self.scores)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a line of JSON."""
        return {
            "index": self.index,
            "nodes": self.graph.to_list(),
            "formula": self.graph.formula(),
            "fate": self.fate,
            "scores": list(self.scores),
            "parent": self.parent,
            "same_as": self.same_as,
        }

    @staticmethod
    def from_dict(line: dict[str, Any]) -> "Candidate":
        """What `to_dict` wrote; the formula follows from the nodes and is not read."""
        graph, scores = Graph(line["nodes"]), tuple(line["scores"])
        return Candidate(line["index"], graph, line["fate"], scores, line["parent"], line["same_as"])


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether `a` is nowhere below `b` and somewhere above it."""
    return all(x >= y for x, y in zip(a, b, strict=True)) and any(x > y for x, y in zip(a, b, strict=True))


def front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The Pareto front: those whose scores no other candidate dominates, in the order given."""
    return [each for each in candidates if not any(dominates(other.scores, each.scores) for other in candidates)]


def winner(candidates: Sequence[Candidate], rng: np.random.Generator, size: int, selection: str) -> Candidate:
    """The winner of a tournament among `size` candidates drawn at random.

    Args:
        candidates: all scored.
        rng: draws the members, and the winner among equals.
        size: of the tournament.
        selection: "pareto" for a random member of the Pareto front, "average" for the best mean score.
    """
    members = [candidates[index] for index in rng.choice(len(candidates), min(size, len(candidates)), replace=False)]
    if selection == "average":
        return max(members, key=lambda each: each.mean)
    best = front(members)
    return best[int(rng.integers(len(best)))]
