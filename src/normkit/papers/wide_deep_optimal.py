"""Wide and Deep Neural Networks Achieve Optimality for Classification (Radhakrishnan, Belkin, Uhler 2023)."""

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from normkit.estimators import InfiniteNetClassifier
from normkit.nn import standardize_activation
from normkit.papers import Context, Ledger, Paper, Records, Show

__all__ = ["paper"]

paper = Paper(
    slug="wide-deep-optimal",
    title="Wide and Deep Neural Networks Achieve Optimality for Classification",
    authors=("Adityanarayanan Radhakrishnan", "Mikhail Belkin", "Caroline Uhler"),
    year=2023,
    arxiv="2204.14126",
    nuisance="the mean and the scale of the activation, which depth multiplies",
    pathology="As it grows wide and deep, a network with an ordinary activation ignores its input or copies one label.",
    remedy="Standardise the activation and choose its Hermite coefficients for the dimension of the data.",
    provides=(
        "normkit.estimators.InfiniteNetClassifier",
        "normkit.estimators.taxonomy",
        "normkit.nn.HermiteActivation",
        "normkit.nn.optimal_activation",
        "normkit.nn.standardize_activation",
    ),
)


def _points(draw: np.random.Generator, n: int, d: int) -> tuple[ndarray, ndarray]:
    """Points |N(0, I)| on the sphere and P(y = 1) there, 0.8 or 0.2; at d = 1 the last two terms cancel."""
    x = np.abs(draw.normal(size=(n, d + 1)))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    score = np.sin(6 * np.arccos(x[:, 0])) + x[:, 1] - x[:, d]
    return x, np.where(score > 0, 0.8, 0.2)


@paper.run(scale="smoke", minutes=0.03)
@paper.run(scale="embedded", seeds=6, minutes=2)
def optimality(ctx: Context) -> list[dict[str, Any]]:
    """Risk, from the known P, of three limits by dimension and number of points."""
    draw, found = np.random.default_rng(ctx.seed), []
    for d in (1, 2, 4):
        queries, truth = _points(draw, ctx.pick(smoke=100, embedded=1500), d)
        for n in ctx.pick(smoke=(50, 100), embedded=(250, 1000, 4000, 16000)):
            x, p = _points(draw, n, d)
            y = (draw.random(n) < p).astype(int)
            for name, a in {"singular": "optimal", "1-NN": [0.0, 0.0, 1.0], "majority": "relu"}.items():
                said = InfiniteNetClassifier(a, preprocess=False).fit(x, y).predict(queries)
                risk = float(np.where(said == 1, 1 - truth, truth).mean())
                found.append({"d": d, "n": n, "limit": name, "risk": risk})
    return found


@paper.judge
def judge(records: Records, claim: Ledger, show: Show) -> None:
    """The risk falls to Bayes' 0.2 for the singular kernel alone."""
    source = "abstract (consistency), at the size of 16,000 points"
    counts = sorted({row["n"] for row in records})
    for d, bound in ((1, 0.23), (2, 0.24)):
        risks = [records.mean("risk", d=d, n=n, limit="singular") for n in counts]
        claim(f"d = {d}: risk of the singular kernel at the most points", risks[-1], at_most=bound, source=source)
        falls = all(a > b for a, b in pairwise(risks))
        claim(f"d = {d}: its risk falls with every larger number of points", falls, equals=True, source=source)
    lowest = min(records.mean("risk", d=d, n=n, limit="1-NN") for d in (1, 2, 4) for n in counts)
    claim("lowest risk of the nearest neighbour", lowest, at_least=0.3, source="limit 2 · 0.2 · 0.8 = 0.32")
    needs = "needs a GPU"
    claim("10⁵ points × 10⁴ queries on one GPU, seconds", None, at_most=60, source="this project's bar", reason=needs)
    rows = [[*key, g.mean("risk")] for key, g in records.groups("d", "n", "limit").items()]
    show.table(["d", "points", "limit", "risk"], rows, caption="Mean over the seeds; Bayes' risk is 0.2")

    def draw(axes: Any) -> None:
        for name in ("singular", "1-NN", "majority"):
            axes.plot(counts, [records.mean("risk", d=2, n=n, limit=name) for n in counts], "o-", label=name)
        axes.set(xscale="log", xlabel="points", ylabel="risk, d = 2")
        axes.legend()

    show.figure(draw, caption="Risk of the three limits", alt="Only the singular kernel's risk falls")


@paper.invariance(tolerance=1e-9)
def scale_and_offset(generator: torch.Generator) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """A standardised activation does not see a factor and an offset of the activation."""
    x = torch.randn(50, generator=generator, dtype=torch.float64)

    class Moved(nn.Tanh):
        def forward(self, input: Tensor) -> Tensor:
            return 3 * super().forward(input) + 2

    return standardize_activation(Moved())(x), standardize_activation(nn.Tanh())(x)
