"""Evolving Normalization-Activation Layers (Liu, Brock, Simonyan, Le 2020): the layers, and the search for them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from normkit import data, training
from normkit.benchmarks import interleaved
from normkit.functional import evonorm_s0
from normkit.models import ResNet
from normkit.nn import EvoNorm2dS0
from normkit.papers import Context, Ledger, Paper, Records, Show
from normkit.papers._evonorm_search import judge_search, rediscovery, sparsity, yardsticks

__all__ = ["paper"]

paper = Paper(
    slug="evonorm",
    title="Evolving Normalization-Activation Layers",
    authors=("Hanxiao Liu", "Andrew Brock", "Karen Simonyan", "Quoc V. Le"),
    year=2020,
    arxiv="2004.02967",
    nuisance="the rest of the mini-batch (series S)",
    pathology="BatchNorm with ReLU needs a large batch, and GroupNorm with ReLU, which does not, is less accurate.",
    remedy="One layer that normalises and activates, found by evolution: x · σ(v x) over the deviation of its group.",
    provides=(
        "normkit.nn.EvoNorm2dS0",
        "normkit.nn.EvoNorm2dS1",
        "normkit.nn.EvoNorm2dS2",
        "normkit.nn.EvoNorm2dB0",
        "normkit.nn.EvoNorm2dB1",
        "normkit.nn.EvoNorm2dB2",
        "normkit.nn.GraphNorm2d",
        "normkit.search.Search",
        "normkit.functional.evonorm_s0",
        "normkit.functional.evonorm_s1",
        "normkit.functional.evonorm_s2",
        "normkit.functional.evonorm_b0",
        "normkit.functional.evonorm_b1",
        "normkit.functional.evonorm_b2",
    ),
    probe="batch-noise",
    rule="evonorm-s0",
)

GROUPS = 4
LAYERS: dict[str, Callable[[int], nn.Module]] = {
    "BN-ReLU": lambda c: nn.Sequential(nn.BatchNorm2d(c), nn.ReLU()),
    "GN-ReLU": lambda c: nn.Sequential(nn.GroupNorm(GROUPS, c), nn.ReLU()),
    "GN-SiLU": lambda c: nn.Sequential(nn.GroupNorm(GROUPS, c), nn.SiLU()),
    "EvoNorm-S0": lambda c: EvoNorm2dS0(c, GROUPS),
}
SAMPLES = {32: 6400, 1: 3000}
STUCK = 0.5
"""A run that ends below this accuracy has not learned; one such run outweighs every other difference in a mean."""


@paper.run(scale="smoke", minutes=0.02)
@paper.run(scale="embedded", seeds=3, minutes=3)
def layers(ctx: Context) -> list[dict[str, Any]]:
    """Accuracy of a pre-activation residual net with each layer, trained on the digits with large and tiny batches."""
    x_train, y_train, x_test, y_test = data.digits()
    sizes = ctx.pick(smoke={"channels": 8, "blocks": 1, "pool_after": 1}, embedded={})
    figures = []
    for batch, samples in SAMPLES.items():
        for name, layer in LAYERS.items():
            torch.manual_seed(ctx.seed)
            model = ResNet(layer, nn.Identity, **sizes)
            training.fit(
                model,
                data.batches(x_train, y_train, batch, seed=ctx.seed, drop_last=True),
                steps=ctx.pick(smoke=2, embedded=samples // batch),
                optimizer=partial(_sgd, lr=0.05 * batch / 32),
                schedule=training.warmup_cosine(0.05),
                seed=ctx.seed,
            )
            figures.append({"layer": name, "batch": batch, "accuracy": training.accuracy(model, x_test, y_test)})
    return figures


def _sgd(parameters: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr, momentum=0.9, weight_decay=1e-4)


@paper.run(scale="smoke", minutes=0.01, alone=True)
@paper.run(scale="embedded", minutes=1, alone=True)
def speed(ctx: Context) -> list[dict[str, Any]]:
    """Time of forward and backward beside GroupNorm-SiLU and beside the plain composition of torch operations."""
    shape = ctx.pick(smoke=(2, 32, 4, 4), embedded=(32, 64, 28, 28))
    x = torch.randn(shape, requires_grad=True)
    upstream = torch.randn(shape)
    channels = shape[1]
    ones, zeros = torch.ones(channels, requires_grad=True), torch.zeros(channels, requires_grad=True)
    v = torch.ones(channels, requires_grad=True)
    group_norm = nn.GroupNorm(32, channels)

    def timed(forward: Callable[[], Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(forward(), x, upstream)

    timings = interleaved(
        {
            "S0": timed(lambda: evonorm_s0(x, ones, zeros, v, 32)),
            "S0, plain composition": timed(lambda: evonorm_s0(x, ones, zeros, v, 32, kernel="reference")),
            "GN-SiLU": timed(lambda: nn.functional.silu(group_norm(x))),
            "BN-ReLU": timed(lambda: nn.functional.relu(nn.functional.batch_norm(x, None, None, ones, zeros, True))),
        },
        rounds=ctx.pick(smoke=2, embedded=31),
    )
    return [
        {"layer": name, "ms": 1e3 * timings[name].median, "over_s0": timings.ratio(name, "S0").median}
        for name in timings
    ]


for measure, seeds, minutes in ((sparsity, 1, 2), (rediscovery, 3, 3), (yardsticks, 1, 1)):
    paper.run(scale="smoke", minutes=0.005)(measure)
    paper.run(scale="embedded", seeds=seeds, minutes=minutes)(measure)


@paper.judge
def judge(records: Records, claim: Ledger, show: Show) -> None:
    """Immunity to the batch size, the gain over GroupNorm-ReLU, the cost, and what the search finds."""
    source = "table 2 (ImageNet), at the size of the digits"
    accuracy = {
        (name, batch): 100 * records.mean("accuracy", layer=name, batch=batch) for name in LAYERS for batch in SAMPLES
    }
    claim(
        "batch 1: accuracy of EvoNorm-S0 above BN-ReLU, points",
        accuracy["EvoNorm-S0", 1] - accuracy["BN-ReLU", 1],
        at_least=50,
        source=source,
    )
    for batch in SAMPLES:
        runs = records.values("accuracy", layer="EvoNorm-S0", batch=batch)
        claim(
            f"batch {batch}: accuracy of EvoNorm-S0 above GN-ReLU, points ({_stuck(runs)} of {len(runs)} runs of S0 "
            f"stuck below {STUCK:.0%})",
            accuracy["EvoNorm-S0", batch] - accuracy["GN-ReLU", batch],
            at_least=1,
            source=source,
        )
    _judge_speed(records, claim)
    judge_search(records, claim, show)
    rows = [
        [batch, layer, *(100 * f("accuracy") for f in (g.mean, g.smallest, g.largest)), _stuck(g.values("accuracy"))]
        for (batch, layer), g in records.groups("batch", "layer").items()
    ]
    headers = ["batch", "layer", "accuracy, %", "smallest", "largest", f"runs below {STUCK:.0%}"]
    show.table(headers, rows, caption="Mean over the seeds; smallest and largest accuracy of one seed")
    costs = [[r["layer"], r["ms"], r["over_s0"]] for r in records.where(run="speed")]
    show.table(["layer", "ms, forward + backward", "time over S0's"], costs, caption="One thread; median of the rounds")

    def draw(axes: Any) -> None:
        for offset, batch in enumerate(SAMPLES):
            places = [index + 0.4 * offset for index in range(len(LAYERS))]
            axes.bar(places, [accuracy[name, batch] for name in LAYERS], width=0.38, label=f"batch {batch}")
        axes.set_xticks([index + 0.2 for index in range(len(LAYERS))], list(LAYERS))
        axes.set_ylabel("test accuracy, %")
        axes.legend()

    show.figure(
        draw, caption="Test accuracy at batch 32 and batch 1", alt="BN-ReLU falls at batch 1, the others do not"
    )


def _stuck(accuracies: list[float]) -> int:
    return sum(accuracy < STUCK for accuracy in accuracies)


def _judge_speed(records: Records, claim: Ledger) -> None:
    costs = records.where(run="speed")
    source = "this project's bar; (32, 64, 28, 28), one thread"
    plain = costs.mean("over_s0", layer="S0, plain composition")
    claim("time of the plain composition over S0's, forward and backward", plain, at_least=2, n=1, source=source)
    beside = 1 / costs.mean("over_s0", layer="GN-SiLU")
    claim("time of S0 over GroupNorm-SiLU's, forward and backward", beside, at_most=3, n=1, source=source)


@paper.invariance(tolerance=1e-12)
def rest_of_the_batch(generator: torch.Generator) -> tuple[Float[Tensor, "1 8 3 3"], Float[Tensor, "1 8 3 3"]]:
    """EvoNorm-S0 gives a case the same output whatever stands in its batch."""
    x = torch.randn(4, 8, 3, 3, generator=generator, dtype=torch.float64)
    weight, bias, v = (torch.randn(8, generator=generator, dtype=torch.float64) for _ in range(3))
    return evonorm_s0(x, weight, bias, v, GROUPS)[:1], evonorm_s0(x[:1], weight, bias, v, GROUPS)
