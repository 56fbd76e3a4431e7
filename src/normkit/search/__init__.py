"""The search for normalisation-activation layers: graphs of primitive operations, evolved on small networks."""

from normkit.nn.graph import Graph
from normkit.search.known import graph_of, known

__all__ = ["Graph", "graph_of", "known"]
