"""Unified Normalization for Accelerating and Stabilizing Transformers (Yang et al. 2022)."""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from normkit import data, surgery, training
from normkit.benchmarks import interleaved
from normkit.conversion import convert
from normkit.models import SequenceBatchNorm, VisionTransformer, character_model
from normkit.nn import LayerNorm, PowerNorm, UnifiedNorm
from normkit.papers import Context, Ledger, Paper, Records, Show

__all__ = ["paper"]

paper = Paper(
    slug="unified-norm",
    title="Unified Normalization for Accelerating and Stabilizing Transformers",
    authors=(
        "Qiming Yang",
        "Kai Zhang",
        "Chaoxiang Lan",
        "Zhi Yang",
        "Zheyang Li",
        "Wenming Tan",
        "Jun Xiao",
        "Shiliang Pu",
    ),
    year=2022,
    arxiv="2208.01313",
    nuisance="the scale of a channel, and how it fluctuates from batch to batch",
    pathology="Norms that cost nothing at inference use stored statistics, which in transformers fluctuate from batch "
    "to batch and are distorted by outliers.",
    remedy="Divide by a geometric mean over the last steps, smooth the gradient likewise, and skip outlier batches.",
    provides=(
        "normkit.nn.UnifiedNorm",
        "normkit.nn.reset_warmup",
        "normkit.functional.unified_norm",
        "normkit.conversion.ToUnifiedNorm",
    ),
    probe="outlier-fluctuation",
    rule="unified-norm",
)

Norm = Callable[[int], nn.Module]
SPIKE, SPIKED_SAMPLES, FIRST_SPIKE, BETWEEN_SPIKES = 50.0, 2, 80, 40
VISION: dict[str, Norm] = {
    "LN": LayerNorm,
    "BN": SequenceBatchNorm,
    "PN": partial(PowerNorm, warmup_iters=60),
    "UN": partial(UnifiedNorm, warmup_iters=60),
    "UN + filter": partial(UnifiedNorm, warmup_iters=60, outlier_filtration=True),
}
LANGUAGE: dict[str, Norm] = {
    "LN": LayerNorm,
    "BN": SequenceBatchNorm,
    "UN": partial(UnifiedNorm, warmup_iters=100),
    "UN + filter": partial(UnifiedNorm, warmup_iters=100, outlier_filtration=True),
    "UN, momentum 0.5": partial(UnifiedNorm, warmup_iters=100, momentum=0.5),
}
# placement -> norms; three layers, batch 8, 300 steps
PLACED: dict[str, tuple[str, ...]] = {
    "post": ("LN", "BN", "UN", "UN + filter"),
    "pre": ("LN", "BN", "UN", "UN, momentum 0.5"),
}


def _skips(model: nn.Module) -> int:
    return sum(int(module.skip_counter) for module in model.modules() if isinstance(module, UnifiedNorm))


def _spiked_at(step: int) -> bool:
    return step >= FIRST_SPIKE and step % BETWEEN_SPIKES == 0


def _digits(steps: int, seed: int, spikes: bool) -> list[tuple[Tensor, Tensor]]:
    """Batches of 32 digits; with spikes two samples of some batches are 50 times too large."""
    x, y, _, _ = data.digits("unit")
    loader = data.batches(x, y, 32, seed=seed, drop_last=True)
    stream = itertools.chain.from_iterable(itertools.repeat(loader))
    batches = []
    for step, (images, labels) in enumerate(itertools.islice(stream, steps)):
        scale = torch.ones(len(images), 1, 1, 1)
        if spikes and _spiked_at(step):
            scale[:SPIKED_SAMPLES] = SPIKE
        batches.append((images * scale, labels))
    return batches


def _vision(norm: Norm, steps: int, seed: int, spikes: bool = False, **sizes: Any) -> tuple[nn.Module, list[int]]:
    """A vision transformer trained on the digits, and how many layers skipped each of its batches."""
    torch.manual_seed(seed)
    model = VisionTransformer(norm=norm, **sizes)
    counted = [0]
    training.fit(
        model,
        _digits(steps, seed, spikes),
        steps=steps,
        optimizer=lambda parameters: torch.optim.AdamW(parameters, 2e-3),
        seed=seed,
        callback=lambda step, loss, model: counted.append(_skips(model)),
    )
    return model, [after - before for before, after in itertools.pairwise(counted)]


@paper.run(scale="smoke", minutes=0.01)
@paper.run(scale="embedded", seeds=3, minutes=1.5)
def spikes(ctx: Context) -> list[dict[str, Any]]:
    """Test accuracy and skipped batches of every norm, with and without outliers among the batches."""
    _, _, x_test, y_test = data.digits("unit")
    steps = ctx.pick(smoke=2, embedded=240)
    figures = []
    for norm, spiked in itertools.product(VISION, (False, True)):
        model, skips = _vision(VISION[norm], steps, ctx.seed, spiked)
        at_spikes = [count for step, count in enumerate(skips) if _spiked_at(step)]
        accuracy, nll = training.accuracy(model, x_test, y_test), training.mean_loss(model, [(x_test, y_test)])
        counts = {"skips": sum(skips), "fewest_at_spike": min(at_spikes, default=0)}
        figures.append({"norm": norm, "spiked": spiked, "accuracy": accuracy, "nll": nll, **counts})
    return figures


def _language(ctx: Context, norm: str, **options: Any) -> dict[str, Any]:
    """One run of the character model; `options` are its placement, layers, batch and steps."""
    train, rest, alphabet = data.character_split()
    torch.manual_seed(ctx.seed)
    layers, steps = ctx.pick(smoke=(1, 2), embedded=(options["layers"], options["steps"]))
    model = character_model(len(alphabet), layers, placement=options["placement"], norm=LANGUAGE[norm])
    run = training.fit_language_model(model, train, rest, batch_size=options["batch"], steps=steps, seed=ctx.seed)
    figures = {"loss": run.validation, "batch_loss": run.validation_batch, "skips": _skips(model)}
    return {"norm": norm, **options, **figures}


@paper.run(scale="smoke", minutes=0.01)
@paper.run(scale="embedded", seeds=5, minutes=0.7)
def batch_of_one(ctx: Context) -> list[dict[str, Any]]:
    """The strongest fluctuation: one window of text a step, Post-LN, two layers."""
    return [_language(ctx, norm, placement="post", layers=2, batch=1, steps=400) for norm in ("LN", "BN", "UN")]


@paper.run(scale="smoke", minutes=0.01)
@paper.run(scale="embedded", seeds=2, minutes=2)
def language_model(ctx: Context) -> list[dict[str, Any]]:
    """Three layers at batch 8, Post-LN and Pre-LN."""
    few: dict[str, tuple[str, ...]] = {"pre": ("LN", "UN")}
    chosen = ctx.pick(smoke=few, embedded=PLACED)
    return [
        _language(ctx, norm, placement=placement, layers=3, batch=8, steps=300)
        for placement, norms in chosen.items()
        for norm in norms
    ]


@paper.run(scale="smoke", minutes=0.01)
@paper.run(scale="embedded", minutes=0.2)
def fusion(ctx: Context) -> list[dict[str, Any]]:
    """All norms of a briefly trained network folded: how far its scores move, in both precisions."""
    steps, layers = ctx.pick(smoke=(2, 1), embedded=(30, 3))
    model, _ = _vision(partial(UnifiedNorm, warmup_iters=60), steps, ctx.seed, num_layers=layers)
    norms = sum(isinstance(module, UnifiedNorm) for module in model.modules())
    images = data.digits("unit")[2]
    figures: dict[str, Any] = {"norms": norms}
    for name, dtype in (("float64", torch.float64), ("float32", torch.float32)):
        plain, x = surgery.copy(model).eval().to(dtype), images.to(dtype)
        folded = convert(plain, "fold", example=x[:64]).model
        with torch.no_grad():
            figures[name] = (folded(x) - plain(x)).abs().max().item()
        figures["left"] = sum(isinstance(module, UnifiedNorm) for module in folded.modules())
    return [figures]


@paper.run(scale="smoke", minutes=0.01)
@paper.run(scale="embedded", minutes=0.5, alone=True)
def fused_time(ctx: Context) -> list[dict[str, Any]]:
    """Time of a forward pass with torch's LayerNorm, with this project's and without norms over the folded network's.

    What has no norms at all is the most that folding can reach: it shows whether the folded network carries more.
    """
    width, layers = ctx.pick(smoke=(32, 1), embedded=(128, 4))
    images = data.digits("unit")[2][:64]
    build = partial(VisionTransformer, d_model=width, num_layers=layers)
    unified = build(norm=UnifiedNorm).train()
    with torch.no_grad():
        unified(images)
        models: dict[str, nn.Module] = {
            "LN (torch)": build(norm=nn.LayerNorm).eval(),
            "LN (normkit)": build(norm=LayerNorm).eval(),
            "no norms": build(norm=nn.Identity).eval(),
            "folded": convert(unified.eval(), "fold", example=images).model,
        }
        timings = interleaved(
            {name: partial(model, images) for name, model in models.items()}, rounds=ctx.pick(smoke=3, embedded=41)
        )
    return [
        {"peer": name, "ratio": ratio.median, "low": ratio.low, "high": ratio.high}
        for name in ("LN (torch)", "LN (normkit)", "no norms")
        for ratio in [timings.ratio(name, "folded")]
    ]


@paper.judge
def judge(records: Records, claim: Ledger, show: Show) -> None:
    """Outliers and the filter; the loss against LayerNorm's; the folded network; what needs another scale."""
    _judge_spikes(records.where(run="spikes"), claim, show)
    _judge_language(records, claim, show)
    _judge_fusion(records, claim, show)
    for statement, bound, reason in (
        ("BLEU of UN over LN's, IWSLT14 De-En (35.4 against 35.3; BN 31.1)", 0.0, "needs IWSLT14 and a GPU-day"),
        ("share of inference time that folding saves on a GPU (31 % in the paper's own stack)", 0.05, "needs a GPU"),
    ):
        claim(statement, at_least=bound, source="README of the official code; abstract", reason=reason)


def _judge_spikes(records: Records, claim: Ledger, show: Show) -> None:
    source = "section 3.3 (outlier filtration), at the size of the digits"

    def accuracy(norm: str, spiked: bool) -> float:
        return records.mean("accuracy", norm=norm, spiked=spiked)

    kept, clean = accuracy("UN + filter", True), accuracy("UN + filter", False)
    where: dict[str, Any] = {"source": source, "n": records.seeds}
    claim("outlier batches: accuracy with the filter above that without", kept - accuracy("UN", True), at_least=0.08, **where)  # fmt: skip  # noqa: E501
    claim("outlier batches: accuracy with the filter below its clean run's", clean - kept, at_most=0.04, **where)
    filtered = records.where(norm="UN + filter")
    fewest = min(filtered.values("fewest_at_spike", spiked=True))
    claim("layers that skip an outlier batch, the fewest at any of them", fewest, at_least=1, **where)
    most = max(filtered.values("skips", spiked=False))
    claim("batches skipped in a clean run (240 steps, 7 layers), most of one seed", most, at_most=5, **where)
    rows = [
        [norm, "outliers" if spiked else "clean", g.mean("accuracy"), g.smallest("accuracy"), g.mean("nll"), g.mean("skips")]  # noqa: E501
        for (norm, spiked), g in records.groups("norm", "spiked").items()
    ]  # fmt: skip
    headers = ["norm", "batches", "accuracy", "smallest", "nll", "skips"]
    show.table(headers, rows, caption="Digits with and without outlier batches: means over the seeds")

    def draw(axes: Any) -> None:
        for offset, spiked, label in ((-0.2, False, "clean"), (0.2, True, "four outlier batches")):
            places = [place + offset for place in range(len(VISION))]
            axes.bar(places, [accuracy(norm, spiked) for norm in VISION], width=0.4, label=label)
        axes.set(xticks=range(len(VISION)), xticklabels=list(VISION), ylabel="test accuracy")
        axes.legend()

    show.figure(draw, caption="Test accuracy, mean of the seeds", alt="Without the filter UN loses most to outliers")


def _judge_language(records: Records, claim: Ledger, show: Show) -> None:
    single, placed = records.where(run="batch_of_one"), records.where(run="language_model")
    source = "table 1 (IWSLT14: BN 4.2 BLEU below LN, UN level with it), as a character model"

    def above(found: Records, norm: str, **where: Any) -> float | None:
        if not found.where(norm=norm, **where):  # at smoke scale
            return None
        return found.mean("loss", norm=norm, **where) - found.mean("loss", norm="LN", **where)

    bn, un = above(single, "BN"), above(single, "UN")
    assert bn is not None
    assert un is not None
    claim("batch 1: validation loss of BN above LN's, nats", bn, at_least=0.1, source=source)
    claim("batch 1: what UN loses to LN over what BN loses", un / bn, at_most=1 / 3, source=source)
    claim("Post-LN, batch 8: validation loss of UN above LN's, nats", above(placed, "UN", placement="post"), at_most=0.03, source=source, n=placed.seeds)  # fmt: skip  # noqa: E501
    claim(
        "Pre-LN, batch 8: validation loss of UN with momentum 0.5 above LN's, nats",
        above(placed, "UN, momentum 0.5", placement="pre"),
        at_most=0.03,
        source=source,
        n=placed.seeds,
    )
    claim(
        "Pre-LN, batch 8: validation loss of UN with momentum 0.9 above LN's, nats",
        above(placed, "UN", placement="pre"),
        at_most=0.03,
        source=source,
        n=placed.seeds,
        reason="the average of the gradient is too slow for 300 steps; the authors train 100 000",
    )
    rows = [
        [placement, batch, norm, g.mean("loss"), g.mean("batch_loss"), g.mean("skips")]
        for found in (single, placed)
        for (placement, batch, norm), g in found.groups("placement", "batch", "norm").items()
    ]
    headers = ["placement", "batch", "norm", "validation loss", "by batch statistics", "skips"]
    show.table(headers, rows, caption="Character model, nats a character: means over the seeds")


def _judge_fusion(records: Records, claim: Ledger, show: Show) -> None:
    source, folded = "section 3.4 (fusion)", records.where(run="fusion")
    claim("norms left after folding", int(folded.mean("left")), equals=0, n=folded.seeds, source=source)
    for dtype, bound in (("float64", 1e-12), ("float32", 1e-5)):
        statement = f"folding {int(folded.mean('norms'))} norms moves a score by at most, {dtype}"
        claim(statement, folded.largest(dtype), at_most=bound, n=folded.seeds, source=source)
    timed = records.where(run="fused_time")
    ratio = timed.mean("ratio", peer="LN (torch)")
    claim("time with torch's LayerNorm over the folded network's", ratio, at_least=1.05, n=1, source="abstract")
    rows = [[g["peer"], g["ratio"], g["low"], g["high"]] for g in timed]
    headers = ["with", "time over the folded network's", "low", "high"]
    caption = (
        "Forward pass of a vision transformer, batch 64, with 95 % interval; no norms is the least that it can cost"
    )
    show.table(headers, rows, caption=caption)


@paper.invariance(tolerance=1e-12)
def scale_of_a_channel(generator: torch.Generator) -> tuple[Float[Tensor, "3 7 5"], Float[Tensor, "3 7 5"]]:
    """UN in training does not see the scale of a channel (ε = 0), its window full or not."""
    batches = torch.randn(6, 3, 7, 5, generator=generator, dtype=torch.float64)
    scale = torch.rand(5, generator=generator, dtype=torch.float64) * 9 + 0.1
    outputs = []
    for factor in (scale, torch.ones_like(scale)):
        layer = UnifiedNorm(5, warmup_iters=0, eps=0.0, dtype=torch.float64)
        outputs.append([layer(batch * factor).detach() for batch in batches][-1])
    return outputs[0], outputs[1]
