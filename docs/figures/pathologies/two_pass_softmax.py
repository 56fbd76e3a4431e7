"""The largest error of one softmax row over its length, in units in the last place."""

from typing import Any

import torch
from torch import Tensor

from normkit import functional
from normkit.report import COLORS, new_figure


def draw() -> Any:
    """The picture."""
    sizes = [2**power for power in range(4, 25, 2)]
    errors: dict[str, list[float]] = {"torch": [], "normkit": []}
    for size in sizes:
        x = 4 * torch.randn(1, size)
        exact = torch.softmax(x.double(), -1)
        for name, softmax in (("torch", torch.softmax), ("normkit", functional.softmax)):
            errors[name].append(_ulp(softmax(x, -1), exact))
    figure, axes = new_figure()
    axes.plot(sizes, errors["torch"], "o-", color=COLORS["before"], label="torch")
    axes.plot(sizes, errors["normkit"], "o-", color=COLORS["after"], label="normkit")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("length of the row")
    axes.set_ylabel("largest error, ULP")
    axes.set_ylim(1, None)
    axes.legend()
    return figure


def _ulp(found: Tensor, exact: Tensor) -> float:
    normal = exact >= 2.0**-125
    error = (found.double()[normal] - exact[normal]).abs()
    return float(torch.ldexp(error, 24 - torch.frexp(exact[normal]).exponent).max())
