"""The page that `normkit evolve --out` writes: what was searched, the best layers drawn, their figures."""

from collections.abc import Mapping, Sequence

import torch

from normkit import search
from normkit.report import COLORS, Report, new_figure

__all__ = ["page"]

_SHOWN = 3


def page(found: search.Search, layers: Sequence[search.Ranked], yardsticks: Mapping[str, search.Ranked]) -> Report:
    """The search, its best layers (trained anew) and the yardsticks as a report."""
    lead = f"{len(found.candidates)} proposals from seed {found.seed}, scored on {', '.join(found.architectures)}."
    report = Report("Evolved layers", lead)
    report.heading("Trained anew")
    rows = [(each.graph.formula(), each) for each in layers] + list(yardsticks.items())
    nets = list(found.architectures)
    figures = [[name, *(100 * each.scores[net] for net in nets), 100 * each.mean] for name, each in rows]
    report.table(["layer", *nets, "mean"], figures, "Accuracy in %, longer training, mean over three fresh seeds.")
    for number, each in enumerate(layers[:_SHOWN], 1):
        report.heading(f"Layer {number}: {each.graph.formula()}")
        _show(report, each.graph, number)
    report.heading("What became of the proposals")
    report.table(["fate", "proposals", "meaning"], [[f, n, search.FATES[f]] for f, n in found.fates.items()])
    return report


def _show(report: Report, graph: search.Graph, number: int) -> None:
    figure, axes = new_figure(5.0, 4.0)
    search.draw(graph, axes)
    report.figure(figure, "The graph; arrows run from operands to what reads them.", graph.formula())
    figure, axes = new_figure(5.0, 3.0)
    x = torch.linspace(-3, 3, 120, dtype=torch.float64)
    axes.plot(x, search.response(graph, x), color=COLORS["after"])
    axes.set(xlabel="one value of a standard normal map", ylabel="output")
    report.figure(figure, "What it does to one value, its statistics held.", "a curve")
    report.code(f"normkit.nn.GraphNorm2d({graph.to_list()}, channels)", f"The same as source is in layer_{number}.py.")
