"""Wide and Deep Neural Networks Achieve Optimality for Classification (Radhakrishnan, Belkin, Uhler 2023)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from normkit.nn import standardize_activation
from normkit.papers import Ledger, Paper, Records, Show
from normkit.papers._wide_deep_gpu import gpu_queries, judge_gpu
from normkit.papers._wide_deep_limits import judge_limits, judge_transient, limits, transient
from normkit.papers._wide_deep_risk import judge_risk, optimality
from normkit.papers._wide_deep_widths import judge_widths, widths

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


paper.run(scale="smoke", minutes=0.02)(optimality)
paper.run(scale="embedded", seeds=6, minutes=2)(optimality)
paper.run(scale="full", seeds=6, minutes=2)(optimality)
paper.run(scale="smoke", minutes=0.005)(limits)
paper.run(scale="embedded", seeds=6, minutes=0.1)(limits)
paper.run(scale="full", seeds=6, minutes=0.1)(limits)
paper.run(scale="smoke", minutes=0.002)(transient)
paper.run(scale="embedded", seeds=6, minutes=0.1)(transient)
paper.run(scale="full", seeds=6, minutes=0.1)(transient)
paper.run(scale="smoke", minutes=0.002)(widths)
paper.run(scale="embedded", minutes=0.5)(widths)
paper.run(scale="full", minutes=0.5)(widths)
paper.run(scale="full", minutes=1, alone=True)(gpu_queries)


@paper.judge
def judge(records: Records, claim: Ledger, show: Show) -> None:
    """The risk, the taxonomy by depth, the layers that the limit takes, and the widths that it takes."""
    judge_risk(records, claim, show)
    judge_limits(records, claim, show)
    judge_transient(records, claim, show)
    judge_widths(records, claim, show)
    judge_gpu(records, claim)


@paper.invariance(tolerance=1e-9)
def scale_and_offset(generator: torch.Generator) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """A standardised activation does not see a factor and an offset of the activation."""
    x = torch.randn(50, generator=generator, dtype=torch.float64)

    class Moved(nn.Tanh):
        def forward(self, input: Tensor) -> Tensor:
            return 3 * super().forward(input) + 2

    return standardize_activation(Moved())(x), standardize_activation(nn.Tanh())(x)
