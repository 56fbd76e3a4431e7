"""Test accuracy on the digits over the share of the parameters that train, everything else as it was drawn."""

from typing import Any

import torch

from normkit import data, models, training
from normkit.report import COLORS, new_figure
from normkit.weights import freeze, random_features_, reinit_affine_


def draw() -> Any:
    """The picture."""
    x_train, y_train, x_test, y_test = data.digits("unit")
    figure, axes = new_figure()
    parts = {"two weights a filter": "random", "output layer": "output", "γ and β": "affine", "everything": "all"}
    for (name, condition), color in zip(parts.items(), ("before", "watch", "after", "muted"), strict=True):
        torch.manual_seed(0)
        net = reinit_affine_(random_features_(models.cifar_resnet(14, in_channels=1)))
        share = freeze(net, condition).share
        training.fit(
            net,
            data.batches(x_train, y_train, 64, drop_last=True),
            steps=150,
            optimizer=lambda parameters: torch.optim.SGD(parameters, 0.1, momentum=0.9, weight_decay=1e-4),
            schedule=training.step_decay(),
        )
        reached = 100 * training.accuracy(net, x_test, y_test)
        axes.plot([100 * share], [reached], "o", markersize=9, color=COLORS[color], label=name)
    axes.set_xscale("log")
    axes.set_xlabel("parameters that train, %")
    axes.set_ylabel("test accuracy, %")
    axes.set_ylim(0, 100)
    axes.legend(loc="lower right")
    return figure
