"""What BatchNorm and PowerNorm divide one channel by, batch by batch, in a character model on single windows."""

from typing import Any

import torch
from torch import Tensor

from normkit import data, models
from normkit.nn import PowerNorm
from normkit.report import COLORS, new_figure


def draw() -> Any:
    """The picture."""
    text, _, alphabet = data.character_split()
    model = models.character_model(len(alphabet), placement="post").eval()
    seen: list[Tensor] = []
    model.layers[-1].norm2.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten(0, -2)))
    with torch.no_grad():
        for window, _ in data.text_batches(text, 48, 1, 80, 0):
            model(window)
    channel = torch.stack(seen)[:, :, 0]
    variance, running = channel.var(1, correction=0), []
    norm = PowerNorm(seen[0].shape[-1], warmup_iters=0)
    for x in seen:
        norm(x)
        running.append(norm.running_phi[0].clone())
    figure, axes = new_figure()
    for values, color, label in (
        (variance, "before", "batch variance"),
        (torch.stack(running), "after", "running quadratic mean"),
    ):
        axes.plot(values / values[len(values) // 4 :].mean(), "o-", markersize=3, color=COLORS[color], label=label)
    axes.set_xlabel("batch")
    axes.set_ylabel("over its average")
    axes.legend()
    return figure
