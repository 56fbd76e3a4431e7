"""How much a fixed case's output moves with the rest of its batch, over the batch's size."""

from typing import Any

import torch
from torch import nn

from normkit.report import COLORS, new_figure


def draw() -> Any:
    """The picture."""
    units = 64
    case, sizes = torch.randn(1, units), [2, 4, 8, 16, 32, 64, 128]
    moved: dict[str, list[float]] = {"BatchNorm": [], "LayerNorm": []}
    for size in sizes:
        for name, norm in (("BatchNorm", nn.BatchNorm1d(units)), ("LayerNorm", nn.LayerNorm(units))):
            with torch.no_grad():
                outputs = torch.stack([norm(torch.cat([case, torch.randn(size - 1, units)]))[0] for _ in range(400)])
            moved[name].append(float(outputs.std(0).mean()))
    figure, axes = new_figure()
    axes.plot(sizes, moved["BatchNorm"], "o-", color=COLORS["before"], label="BatchNorm")
    axes.plot(sizes, moved["LayerNorm"], "o-", color=COLORS["after"], label="LayerNorm")
    axes.set_xscale("log", base=2)
    axes.set_xlabel("cases in the batch")
    axes.set_ylabel("spread of one case's output")
    axes.legend()
    return figure
