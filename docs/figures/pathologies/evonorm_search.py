"""The two published winners as graphs of the search space."""

from typing import Any

from normkit import search
from normkit.report import new_figure


def draw() -> Any:
    """The picture."""
    figure, axes = new_figure(7.2, 4.4, columns=2)
    for each, name in zip(axes, ("evonorm-b0", "evonorm-s0"), strict=True):
        search.draw(search.known[name], each)
        each.set_title(name.replace("evonorm-", "EvoNorm-").replace("b0", "B0").replace("s0", "S0"))
    return figure
