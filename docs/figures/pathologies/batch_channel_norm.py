"""How far the channels that enter each ReLU are from the middle, by depth, for three ways to normalise."""

from typing import Any

import torch
from torch import Tensor, nn

from normkit import data, models
from normkit.nn import BatchChannelNorm2d
from normkit.report import COLORS, new_figure
from normkit.weights import weight_standardization


def draw() -> Any:
    """The picture."""
    images = data.digits()[0][:256]
    nets = {
        "GroupNorm": (models.PlainConvNet(lambda channels: nn.GroupNorm(4, channels)), False),
        "GroupNorm, WS": (models.PlainConvNet(lambda channels: nn.GroupNorm(4, channels)), True),
        "BCN, WS": (models.PlainConvNet(lambda channels: BatchChannelNorm2d(channels, 4, style="batch")), True),
    }
    figure, axes = new_figure()
    for index, ((name, (net, standardize)), color) in enumerate(
        zip(nets.items(), ("before", "watch", "after"), strict=True)
    ):
        farness = _farness(net, images, standardize)
        depth = torch.arange(len(farness)).repeat_interleave(farness.shape[1]) + 1 + 0.22 * (index - 1)
        axes.plot(depth, farness.flatten(), "o", markersize=3, alpha=0.7, color=COLORS[color], label=name)
    axes.axhline(2.3, linestyle="--", color=COLORS["muted"])
    axes.set_xlabel("depth")
    axes.set_ylabel("|mean| / deviation")
    axes.set_ylim(0, 3.4)
    axes.legend(loc="upper left", ncols=3)
    return figure


def _farness(net: nn.Module, images: Tensor, standardize: bool) -> Tensor:
    """|mean| / deviation of every channel (columns) that enters a ReLU (rows)."""
    if standardize:
        for module in [module for module in net.modules() if isinstance(module, nn.Conv2d)]:
            weight_standardization(module)
    found: list[Tensor] = []
    for module in [module for module in net.modules() if isinstance(module, nn.ReLU)]:
        module.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].transpose(0, 1).flatten(1)))
    with torch.no_grad():
        net(images)
    return torch.stack([(rows.mean(1) / rows.std(1)).abs() for rows in found if len(rows) == len(found[0])])
