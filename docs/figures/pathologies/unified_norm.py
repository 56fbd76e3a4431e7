"""The size of a layer's output in training, batch by batch, around one whose two images are 50 times too large."""

from typing import Any

import torch
from torch import nn

from normkit import data
from normkit.nn import UnifiedNorm
from normkit.report import COLORS, new_figure


def draw() -> Any:
    """The picture."""
    images, _, _, _ = data.digits()
    embed = nn.Linear(4, 16)
    layers = {
        "no filter": (UnifiedNorm(16, warmup_iters=0), "before"),
        "filter": (UnifiedNorm(16, warmup_iters=0, outlier_filtration=True), "after"),
    }
    figure, axes = new_figure()
    for name, (layer, color) in layers.items():
        sizes = []
        for step, batch in enumerate(images[:640].split(32)):
            scale = torch.ones(32, 1, 1, 1)
            if step == 10:
                scale[:2] = 50.0
            with torch.no_grad():
                y = layer(embed(nn.functional.pixel_unshuffle(batch * scale, 2).flatten(2).transpose(1, 2)))
            sizes.append(float(y.square().mean().sqrt()))
        axes.plot(range(1, 21), sizes, "o-", color=COLORS[color], label=name)
    axes.set_yscale("log", base=2)
    axes.set_xlabel("batch")
    axes.set_ylabel("root mean square of the output")
    axes.legend()
    return figure
