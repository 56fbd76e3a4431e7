"""How wide a network must be before its tangent kernel is the infinite one's, with the optimal activation.

f(x) = n^(−1/2) wᵀ φ(n^(−1/2) W_2 φ(W_1 x)),   all entries N(0, 1), ‖x‖ = 1
"""

import math
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from normkit.estimators import ntk
from normkit.nn import HermiteActivation, optimal_activation
from normkit.papers import Context, Ledger, Records, Show

__all__ = ["empirical_ntk", "judge_widths", "widths"]


def widths(ctx: Context) -> list[dict[str, Any]]:
    """‖K̂ − K‖/‖K‖ (Frobenius) of 10 points, d = 2, for 12 networks of each width."""
    draw = np.random.default_rng(ctx.seed)
    x = np.abs(draw.normal(size=(10, 3)))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    wanted = ntk(x, None, optimal_activation(2), 2)
    generator = torch.Generator().manual_seed(ctx.seed)
    found = []
    for width in ctx.pick(smoke=(32, 64), embedded=(256, 1024, 4096)):
        for _ in range(ctx.pick(smoke=2, embedded=12)):
            kernel = empirical_ntk(torch.as_tensor(x), width, generator).numpy()
            error = float(np.linalg.norm(kernel - wanted) / np.linalg.norm(wanted))
            found.append({"width": width, "error": error})
    return found


def empirical_ntk(x: Tensor, width: int, generator: torch.Generator) -> Tensor:
    """Products of the gradients of f by all weights, layer by layer: they never stand in memory."""
    phi = optimal_activation(2)
    # he_k′ = √k he_{k−1}
    slope = HermiteActivation([math.sqrt(k) * a for k, a in enumerate(phi.coefficients)][1:])
    first, second, last = (
        torch.randn(*shape, generator=generator, dtype=torch.float32).to(x.dtype)
        for shape in ((width, x.shape[1]), (width, width), (width,))
    )
    before = x @ first.T
    hidden = phi(before)
    above = hidden @ second.T / math.sqrt(width)
    by_above = last * slope(above) / math.sqrt(width)
    by_before = by_above @ second / math.sqrt(width) * slope(before)
    out = phi(above)
    return (
        out @ out.T / width
        + (by_above @ by_above.T) * (hidden @ hidden.T) / width
        + (by_before @ by_before.T) * (x @ x.T)
    )


def judge_widths(records: Records, claim: Ledger, show: Show) -> None:
    """The median falls; a cubic has heavy tails, so single networks are far off."""
    groups = {key[0]: g.values("error") for key, g in records.where(run="widths").groups("width").items()}
    medians = [median(errors) for errors in groups.values()]
    claim(
        "finite networks: the median error of the tangent kernel falls with every larger width",
        all(a > b for a, b in pairwise(medians)),
        equals=True,
        n=min(map(len, groups.values())),
        source="two hidden layers, 256 to 4096 wide",
    )
    rows = [[width, min(errors), median(errors), max(errors)] for width, errors in groups.items()]
    caption = "Relative error of a finite network's tangent kernel, optimal activation of d = 2"
    show.table(["width", "smallest", "median", "largest"], rows, caption=caption)
