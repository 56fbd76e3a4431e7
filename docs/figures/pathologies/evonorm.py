"""The response of each layer to one value of a map that is otherwise standard normal."""

from typing import Any

import torch
from torch import nn

from normkit.nn import EvoNorm2dB0, EvoNorm2dS0
from normkit.report import COLORS, new_figure


def draw() -> Any:
    """The picture."""
    x = torch.linspace(-3, 3, 121)
    maps = torch.randn(121, 4, 24, 24)
    maps[:, 0, 0, 0] = x
    layers = {
        "BatchNorm, ReLU": nn.Sequential(nn.BatchNorm2d(4), nn.ReLU()),
        "EvoNorm-S0": EvoNorm2dS0(4, groups=1),
        "EvoNorm-B0": EvoNorm2dB0(4),
    }
    figure, axes = new_figure()
    for (name, layer), color in zip(layers.items(), ("before", "after", "accent"), strict=True):
        with torch.no_grad():
            axes.plot(x, layer(maps)[:, 0, 0, 0], color=COLORS[color], label=name)
    axes.set_xlabel("x")
    axes.set_ylabel("output")
    axes.legend()
    return figure
