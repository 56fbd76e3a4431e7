"""Mean of the valid pixels, in their own deviations, under a white rectangle of each size."""

from typing import Any

import torch
from torch import nn

from normkit import data, functional
from normkit.report import COLORS, new_figure


def draw() -> Any:
    """The picture."""
    areas = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    pictures = nn.functional.interpolate(torch.rand(64, 3, 6, 6), size=48, mode="bicubic").clamp(0, 1)
    moved: dict[str, list[float]] = {"InstanceNorm": [], "region norm": []}
    for area in areas:
        masks = data.random_masks(64, 48, "rectangle", (area - 0.01, area + 0.01))
        filled = torch.where(masks, 1.0, pictures)
        for name, y in (
            ("InstanceNorm", nn.functional.instance_norm(filled)),
            ("region norm", functional.region_norm(filled, masks)),
        ):
            shifts = [
                abs(float(z[:, ~hole[0]].mean() / z[:, ~hole[0]].std())) for z, hole in zip(y, masks, strict=True)
            ]
            moved[name].append(float(torch.tensor(shifts).median()))
    figure, axes = new_figure()
    axes.plot(areas, moved["InstanceNorm"], "o-", color=COLORS["before"], label="InstanceNorm")
    axes.plot(areas, moved["region norm"], "o-", color=COLORS["after"], label="region norm")
    axes.set_xlabel("share of the pixels that is a hole")
    axes.set_ylabel("shift of the mean, deviations")
    axes.legend()
    return figure
