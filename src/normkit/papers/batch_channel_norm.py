"""Micro-Batch Training with Batch-Channel Normalization and Weight Standardization (Qiao et al. 2019)."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from normkit import data, training
from normkit.functional import weight_standardize
from normkit.models import PlainConvNet
from normkit.nn import BatchChannelNorm2d
from normkit.papers import Context, Ledger, Paper, Records, Show
from normkit.weights import weight_standardization

__all__ = ["paper"]

paper = Paper(
    slug="batch-channel-norm",
    title="Micro-Batch Training with Batch-Channel Normalization and Weight Standardization",
    authors=("Siyuan Qiao", "Huiyu Wang", "Chenxi Liu", "Wei Shen", "Alan Yuille"),
    year=2019,
    arxiv="1903.10520",
    nuisance="the size of the batch, and the scale and offset of a filter's weights",
    pathology="With one or two images a device batch statistics are noise, and batch-free norms let channels drift "
    "until they are dead or linear for every input.",
    remedy="Standardise each filter's weights, normalise by slowly estimated batch statistics, then by channel groups.",
    provides=(
        "normkit.nn.BatchChannelNorm1d",
        "normkit.nn.BatchChannelNorm2d",
        "normkit.nn.BatchChannelNorm3d",
        "normkit.nn.EstBatchNorm1d",
        "normkit.nn.EstBatchNorm2d",
        "normkit.nn.EstBatchNorm3d",
        "normkit.weights.weight_standardization",
        "normkit.weights.WSConv2d",
        "normkit.functional.batch_channel_norm",
        "normkit.functional.weight_standardize",
    ),
    probe="elimination",
    rule="batch-channel-norm",
)

GROUPS = 4
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "BN": nn.BatchNorm2d,
    "GN": lambda channels: nn.GroupNorm(GROUPS, channels),
    "BCN": lambda channels: BatchChannelNorm2d(channels, GROUPS),
}
# batch size -> methods; the estimate's speed follows the batch by the layer's own rule, min(0.1, 0.02 · batch)
METHODS = {1: ("BN", "BCN+WS"), 2: ("BN", "GN", "GN+WS", "BCN+WS"), 32: ("BN", "BCN+WS")}


def _network(method: str, **sizes: Any) -> nn.Module:
    """The plain net without shortcuts: 11 convolutions, each followed by the norm and a ReLU."""
    norm, _, standardized = method.partition("+")
    model = PlainConvNet(NORMS[norm], **sizes)
    if standardized:
        for module in [m for m in model.modules() if isinstance(m, nn.Conv2d)]:
            weight_standardization(module)
    return model


def channel_spread(x: Float[Tensor, "batch channel *space"]) -> float:
    """Mean over pairs of channels of |m_c − m_c'| over mean_c s_c, with mean m_c and deviation s_c of each channel."""
    values = x.transpose(0, 1).flatten(1)
    mean = values.mean(1)
    return ((mean[:, None] - mean).abs().mean() / values.std(1).mean()).item()


def _spread(model: nn.Module, images: Tensor) -> float:
    """Mean channel spread of what enters the ReLUs, in eval mode."""
    found: list[float] = []
    hooks = [
        module.register_forward_pre_hook(lambda _, inputs: found.append(channel_spread(inputs[0])))
        for module in model.modules()
        if isinstance(module, nn.ReLU)
    ]
    try:
        with torch.no_grad():
            model.eval()(images)
    finally:
        for hook in hooks:
            hook.remove()
    return sum(found) / len(found)


def _train(ctx: Context, method: str, batch: int) -> dict[str, Any]:
    """Train one net on the digits; lr 0.05 · batch / 32, so that a sample weighs the same at every batch size."""
    samples = ctx.pick(smoke=2 * batch, embedded={1: 3000, 2: 4000, 32: 8000}[batch])
    sizes = ctx.pick(smoke={"channels": 8, "depth": 2, "pool_after": 1}, embedded={})
    x_train, y_train, x_test, y_test = data.digits()
    torch.manual_seed(ctx.seed)
    model = _network(method, **sizes)
    training.fit(
        model,
        data.batches(x_train, y_train, batch, seed=ctx.seed, drop_last=True),
        steps=samples // batch,
        optimizer=lambda p: torch.optim.SGD(p, 0.05 * batch / 32, momentum=0.9, weight_decay=1e-4),
        schedule=training.warmup_cosine(0.05),
        seed=ctx.seed,
    )
    accuracy = training.accuracy(model, x_test, y_test)
    return {"batch": batch, "method": method, "accuracy": accuracy, "spread": _spread(model, x_test)}


@paper.run(scale="smoke", minutes=0.03)
@paper.run(scale="embedded", seeds=3, minutes=3)
def micro_batch_digits(ctx: Context) -> list[dict[str, Any]]:
    """Accuracy and channel spread of every method at batch 1, 2 and 32."""
    return [_train(ctx, method, batch) for batch, methods in METHODS.items() for method in methods]


@paper.judge
def judge(records: Records, claim: Ledger, show: Show) -> None:
    """The gap to BN at each batch size, and the mechanism: the order of the channel spreads."""
    source = "abstract and table 2 (ImageNet), at the size of the digits"

    def gap(batch: int, ours: str, theirs: str) -> float:
        ahead = records.mean("accuracy", batch=batch, method=ours) - records.mean(
            "accuracy", batch=batch, method=theirs
        )
        return 100 * ahead

    claim("batch 1: accuracy of BCN+WS above BN, points", gap(1, "BCN+WS", "BN"), at_least=20, source=source)
    claim("batch 2: accuracy of BCN+WS above BN, points", gap(2, "BCN+WS", "BN"), at_least=1, source=source)
    claim("batch 2: accuracy of BCN+WS above GN, points", gap(2, "BCN+WS", "GN"), at_least=6, source=source)
    claim("batch 32: BCN+WS and BN differ by, points", abs(gap(32, "BCN+WS", "BN")), at_most=2, source=source)
    spreads = {method: records.mean("spread", batch=2, method=method) for method in METHODS[2]}
    falling = sorted(spreads, key=lambda method: -spreads[method])
    claim(
        "batch 2: methods from the largest channel spread to the smallest",
        " > ".join(falling),
        equals="GN > GN+WS > BCN+WS > BN",
        source="section 4 (elimination singularities)",
    )
    claim(
        "batch 2: accuracy of BCN+WS above GN+WS, points",
        gap(2, "BCN+WS", "GN+WS"),
        at_least=0.0,
        source="PASCAL VOC, +0.9 mIoU",
        reason="not visible at the size of the digits: GN+WS is as good once the weights are standardised",
    )
    rows = [
        [batch, method, *(100 * f("accuracy") for f in (g.mean, g.smallest, g.largest)), g.mean("spread")]
        for (batch, method), g in records.groups("batch", "method").items()
    ]
    headers = ["batch", "method", "accuracy, %", "smallest", "largest", "channel spread"]
    show.table(headers, rows, caption="Mean over the seeds; smallest and largest accuracy of one seed")

    def draw(axes: Any) -> None:
        for method in ("BN", "GN", "GN+WS", "BCN+WS"):
            found = records.where(method=method)
            axes.plot(
                [str(r["batch"]) for r in found], [100 * r["accuracy"] for r in found], "o", label=method, alpha=0.7
            )
        axes.set(xlabel="batch size", ylabel="test accuracy, %")
        axes.legend()

    show.figure(draw, caption="Test accuracy, one dot a seed", alt="BN falls at batch 1 and 2, BCN with WS does not")


@paper.invariance(tolerance=1e-6)
def scale_and_offset_of_a_filter(
    generator: torch.Generator,
) -> tuple[Float[Tensor, "5 3 3 3"], Float[Tensor, "5 3 3 3"]]:
    """WS does not see the scale and the offset of a filter's weights (up to its eps, 1e-5 beside a deviation of 10)."""
    weight = 10 * torch.randn(5, 3, 3, 3, generator=generator, dtype=torch.float64)
    return weight_standardize(2 * weight + 3), weight_standardize(weight)
