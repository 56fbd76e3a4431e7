"""The variance of a fresh network's stream by depth, for two scales of its weights and three placements."""

from typing import Any

import torch

from normkit import models
from normkit.report import COLORS, new_figure


def draw() -> Any:
    """The picture."""
    figure, axes = new_figure()
    for placement, color in (("pre", "before"), ("post", "muted"), ("peri", "after")):
        for std, style in ((0.02, "--"), (0.125, "-")):
            torch.manual_seed(0)
            model = models.Transformer(64, 64, 4, 12, placement=placement, eps=1e-6, init_std=std, max_length=32)
            found: list[float] = []
            for layer in model.layers:
                layer.register_forward_hook(
                    lambda _, args, x, found=found: found.append(float(x.var(-1, correction=0).mean()))
                )
            with torch.no_grad():
                model(torch.randint(64, (8, 32)))
            depth = range(2, 2 * len(found) + 1, 2)
            axes.plot(depth, found, style, color=COLORS[color], label=f"{placement}-LN" if style == "-" else None)
    axes.set_yscale("log")
    axes.set_xlabel("sub-layers")
    axes.set_ylabel("variance of the stream")
    axes.legend(loc="center right", ncols=3)
    return figure
