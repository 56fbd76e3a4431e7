"""The search for normalisation-activation layers: graphs of primitive operations, evolved on small networks.

`Search(train, val).run()` finds, `rerank` looks again, `normkit.nn.GraphNorm2d(graph, channels)` is the layer, `source`
its text in plain torch, `draw` its picture. `known` holds the published layers as graphs.

Source: Liu et al. 2020, "Evolving Normalization-Activation Layers", arXiv:2004.02967.
"""

from normkit.nn.graph import Graph
from normkit.nn.primitives import OPERATIONS
from normkit.search.architectures import ARCHITECTURES, Architecture, Layer, chosen
from normkit.search.candidate import FATES, Candidate
from normkit.search.drawing import draw
from normkit.search.evolution import Evolution, Search
from normkit.search.known import graph_of, known
from normkit.search.protocol import PAPER, Protocol
from normkit.search.reranking import LONGER, Ranked, judge, rerank
from normkit.search.response import divides_by_second_moment, nonlinearity, response
from normkit.search.results import write
from normkit.search.sampling import mutate, tree, uniform
from normkit.search.source import source
from normkit.search.task import Task
from normkit.search.trial import probe, try_out

__all__ = [
    "ARCHITECTURES",
    "FATES",
    "LONGER",
    "OPERATIONS",
    "PAPER",
    "Architecture",
    "Candidate",
    "Evolution",
    "Graph",
    "Layer",
    "Protocol",
    "Ranked",
    "Search",
    "Task",
    "chosen",
    "divides_by_second_moment",
    "draw",
    "graph_of",
    "judge",
    "known",
    "mutate",
    "nonlinearity",
    "probe",
    "rerank",
    "response",
    "source",
    "tree",
    "try_out",
    "uniform",
    "write",
]
