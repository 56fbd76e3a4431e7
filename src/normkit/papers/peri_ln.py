"""Peri-LN: Revisiting Normalization Layer in the Transformer Architecture (Kim et al. 2025)."""

from statistics import fmean
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from normkit import data
from normkit.models import Transformer
from normkit.nn import LayerNorm
from normkit.papers import Context, Ledger, Paper, Records, Show
from normkit.papers._stream import FIGURES, hidden, train_placement, variance

__all__ = ["paper"]

paper = Paper(
    slug="peri-ln",
    title="Peri-LN: Revisiting Normalization Layer in the Transformer Architecture",
    authors=(
        *("Jeonghoon Kim", "Byeongchan Lee", "Cheonbok Park", "Yeontaek Oh", "Beomjun Kim", "Taehwan Yoo"),
        *("Seongjin Shin", "Dongyoon Han", "Jinwoo Shin", "Kang Min Yoo"),
    ),
    year=2025,
    arxiv="2502.02732",
    nuisance="the scale of what a branch writes to the residual stream",
    pathology="Pre-LN lets branches write what they like: the stream's variance grows with depth and training, a few "
    "entries become massive, and gradients with them; Post-LN puts a norm on the stream itself and stops learning.",
    remedy="Normalise the input and the output of each branch, before the sum.",
    provides=(
        "normkit.models.TransformerEncoderLayer",
        "normkit.models.TransformerDecoderLayer",
        "normkit.models.Transformer",
        "normkit.models.describe_norms",
        "normkit.conversion.PeriLN",
    ),
    probe="variance-growth",
    rule="peri-ln",
)

PLACEMENTS = ("pre", "post", "peri")
STDS = (0.02, 0.06, 0.125)
RATES = (1e-3, 3e-3, 1e-2, 3e-2)
LAWS_SEEDS, LAWS_LAYERS = 64, 16
FP16_MAX = 65504.0


@paper.run(scale="smoke", minutes=0.01)
@paper.run(scale="embedded", minutes=1)
@paper.run(scale="full", minutes=1)
def variance_law(ctx: Context) -> list[dict[str, Any]]:
    """Variance behind the last layer of fresh networks, over placements and scales of the weights."""
    seeds, layers = ctx.pick(smoke=(1, 2), embedded=(LAWS_SEEDS, LAWS_LAYERS))
    ids, _, alphabet = data.character_split()
    figures = []
    for std in STDS:
        for placement in PLACEMENTS:
            streams = []
            for seed in range(seeds):
                torch.manual_seed(ctx.seed * seeds + seed)
                model = Transformer(len(alphabet), 64, 4, layers, placement=placement, eps=1e-6, init_std=std)
                tokens, _ = next(iter(data.text_batches(ids, 32, 2, 1, seed)))
                streams.append([variance(x) for x in hidden(model, tokens)])
            depth = [fmean(values) for values in zip(*streams, strict=True)]
            law = fmean(stream[-1] / (2 * layers + stream[0]) for stream in streams)
            figures.append({"std": std, "placement": placement, "depth": depth, "over_law": law})
    return figures


@paper.run(scale="smoke", minutes=0.002)
@paper.run(scale="embedded", minutes=0.02)
@paper.run(scale="full", minutes=0.02)
def gradient_law(ctx: Context) -> list[dict[str, Any]]:
    """Norm of the gradient at W₂ as W₁ grows: o = x + a or x + norm(a) with a = relu(norm(x) W₁) W₂, loss Σ o⊙r."""
    d = 32
    x, w1, w2, r = (torch.randn(shape, dtype=torch.float64) for shape in ((16, d), (d, 4 * d), (4 * d, d), (16, d)))
    norm = LayerNorm(d, dtype=torch.float64)
    figures = []
    for placement, last in (("pre", nn.Identity()), ("peri", norm)):
        for scale in (1, 10, 100, 1000):
            w2 = w2.detach().requires_grad_()
            o = x + last((norm(x) @ (scale * w1)).relu() @ w2)
            (gradient,) = torch.autograd.grad((o * r).sum(), w2)
            figures.append({"placement": placement, "scale": scale, "gradient": float(gradient.norm())})
    return figures


@paper.run(scale="smoke", minutes=0.01)
@paper.run(scale="embedded", seeds=2, minutes=3)
@paper.run(scale="full", seeds=2, minutes=3)
def learning_rates(ctx: Context) -> list[dict[str, Any]]:
    """The character model under each placement over the rates, and with an embedding norm at two of them."""
    plain: list[tuple[str, float, dict[str, Any]]] = [
        (placement, lr, {}) for placement in PLACEMENTS for lr in ctx.pick(smoke=(1e-3, 3e-2), embedded=RATES)
    ]
    normed = [(placement, lr, {"embed_norm": True}) for placement in ("pre", "peri") for lr in (3e-3, 3e-2)]
    return [
        train_placement(ctx, placement, lr, **options)
        for placement, lr, options in plain + ctx.pick(smoke=[], embedded=normed)
    ]


@paper.run(scale="full", seeds=3, minutes=120)
def gpt2_small(ctx: Context) -> list[dict[str, Any]]:
    """A network of GPT-2's smallest shape in both half precisions, on a GPU where there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    sizes: dict[str, Any] = {"layers": 12, "steps": 2000, "batch_size": 16, "context": 256, "device": device}
    return [
        train_placement(ctx, placement, lr, **sizes, precision=precision, d_model=768, nhead=12)
        for precision in ("bf16-mixed", "16-mixed")
        for placement in PLACEMENTS
        for lr in RATES[:3]
    ]


@paper.judge
def judge(records: Records, claim: Ledger, show: Show) -> None:
    """The two laws, and what a sweep over learning rates does to the stream."""
    _judge_laws(records, claim)
    runs = records.where(run="learning_rates")
    _judge_rates(runs.where(embed_norm=False), claim)
    _judge_losses(runs, claim)
    later = "needs 400M parameters and billions of tokens: here pre-LN is better below 1e-2"
    claim("peri-LN's loss below pre-LN's at moderate rates, nats", at_least=0.0, source="table 1: C4 loss 3.34 against "
          "3.43 at 400M", reason=later)  # fmt: skip
    _judge_gpu(records.where(run="gpt2_small"), claim)
    _show(records, runs, show)


def _judge_laws(records: Records, claim: Ledger) -> None:
    laws = records.where(run="variance_law")
    n = len(laws.distinct("seed")) * LAWS_SEEDS
    for std in STDS:
        statement = f"weights of deviation {std}: peri-LN's variance behind the last sub-layer over Var(x₀) + l"
        law = laws.mean("over_law", placement="peri", std=std)
        claim(statement, law, between=(0.95, 1.05), n=n, source="section 3, law of the variance at initialisation")
    ends = [depth[-1] for depth in laws.values("depth", placement="pre")]
    statement = "pre-LN's variance behind the last sub-layer, largest over smallest of these weights"
    claim(statement, max(ends) / min(ends), at_least=100, n=n, source="section 3: proportional to the weights' scale")
    gradients = records.where(run="gradient_law")
    peri = gradients.values("gradient", placement="peri")
    statement = "peri-LN: relative spread of the gradient at W₂ as W₁ grows a thousandfold"
    claim(
        statement, (max(peri) - min(peri)) / min(peri), at_most=1e-6, n=1, source="proposition 3.1, exact consequence"
    )
    pre = gradients.where(placement="pre")
    off = max(abs(r["gradient"] / (r["scale"] * pre.values("gradient", scale=1)[0]) - 1) for r in pre)
    claim("pre-LN: relative error of gradient ∝ scale of W₁", off, at_most=1e-6, n=1, source="proposition 3.1")


def _judge_rates(runs: Records, claim: Ledger) -> None:
    """The bars of every seed: the worst seed is what is claimed."""
    low, high = RATES[0], RATES[-1]
    source = f"the project's prototype: 6 layers, width 48, 250 steps at {low} and {high}"

    def growth(placement: str) -> list[float]:
        pairs = zip(*(runs.values("variance", placement=placement, lr=lr) for lr in (low, high)), strict=True)
        return [after / before for before, after in pairs]

    claim("pre-LN: final variance at the highest rate over that at the lowest", min(growth("pre")), at_least=1000,
          source=source)  # fmt: skip
    change = max(max(each, 1 / each) for each in growth("peri"))
    claim("peri-LN: change of the final variance between these rates, either way", change, at_most=15, source=source)
    pairs = zip(*(runs.values("largest", placement=each, lr=high) for each in ("peri", "pre")), strict=True)
    share = max(peri / pre for peri, pre in pairs)
    claim("highest rate: largest activation of peri-LN over pre-LN's", share, at_most=0.1, source=source)
    stuck = runs.smallest("loss", placement="post", lr=high)
    claim("highest rate: post-LN's loss is stuck above, nats", stuck, at_least=3.2, source=source)


def _judge_losses(runs: Records, claim: Ledger) -> None:
    source = "the project's prototype: lower by 0.23 to 0.26"
    for normed, name in ((False, ""), (True, ", with an embedding norm")):
        of = runs.where(embed_norm=normed, lr=RATES[-1])
        if not of:
            continue
        gap = of.mean("loss", placement="pre") - of.mean("loss", placement="peri")
        claim(f"highest rate{name}: peri-LN's training loss below pre-LN's, nats", gap, at_least=0.0, source=source)


def _judge_gpu(runs: Records, claim: Ledger) -> None:
    """GPT-2's smallest shape: runs that diverge, and the room that fp16 has left above the largest entry."""
    reason = None if runs else "needs a GPU: normkit reproduce peri-ln --scale full"
    source = "section 4: no run of Peri-LN diverges, and its hidden states stay within fp16's range (400M to 3.2B)"
    peri = runs.where(placement="peri")
    diverged = sum(peri.values("diverged")) if peri else None
    claim("GPT-2's smallest shape, half precision: runs of peri-LN that diverge", diverged, equals=0, source=source,
          reason=reason)  # fmt: skip
    room = FP16_MAX / peri.largest("largest") if peri else None
    claim("the same: fp16's limit over peri-LN's largest activation", room, at_least=10, source=source, reason=reason)


def _show(records: Records, runs: Records, show: Show) -> None:
    figures = (*FIGURES, "spikes")
    rows = [
        ["yes" if normed else "no", lr, placement, *(of.mean(figure) for figure in figures), any(of.values("diverged"))]
        for (normed, lr, placement), of in runs.groups("embed_norm", "lr", "placement").items()
    ]
    headers = [
        "embedding norm",
        "rate",
        "placement",
        "training loss",
        "validation loss",
        "variance",
        "largest",
        "spikes",
    ]
    show.table(
        [*headers, "diverged"], rows, caption="Mean of the seeds; variance and largest entry behind the last layer"
    )

    def draw(axes: Any) -> None:
        for placement in PLACEMENTS:
            for lr, style in ((RATES[0], "--"), (RATES[-1], "-")):
                found = runs.where(placement=placement, lr=lr, embed_norm=False).values("depth")
                depth = [fmean(values) for values in zip(*filter(None, found), strict=True)]
                axes.plot(range(len(depth)), depth, style, marker="o", label=f"{placement}, rate {lr:g}")
        axes.set(xlabel="layers behind the embedding", ylabel="variance of the stream", yscale="log")
        axes.legend()

    caption = "A language model on English text after training: the variance of its stream over depth"
    show.figure(draw, caption=caption, alt="At the high rate pre-LN's variance grows to thousands; peri-LN's stays")

    def fresh(axes: Any) -> None:
        for placement in PLACEMENTS:
            for std, style in zip(STDS, (":", "--", "-"), strict=True):
                (depth,) = records.values("depth", run="variance_law", placement=placement, std=std)[:1]
                axes.plot([2 * layer for layer in range(len(depth))], depth, style, label=f"{placement}, {std}")
        axes.set(xlabel="sub-layers", ylabel="variance of the stream", yscale="log")
        axes.legend(ncols=3, fontsize="small")

    caption = "Before training, for three scales of the weights"
    show.figure(
        fresh, caption=caption, alt="Peri-LN grows by one a sub-layer whatever the weights; pre-LN follows them"
    )


@paper.invariance(tolerance=1e-8)
def scale_of_the_branchs_weights(generator: torch.Generator) -> tuple[Float[Tensor, "4 8"], Float[Tensor, "4 8"]]:
    """What a branch adds to the stream does not depend on the scale of its last matrix."""
    x = torch.randn(4, 8, generator=generator, dtype=torch.float64)
    weight = torch.randn(8, 8, generator=generator, dtype=torch.float64)
    norm = LayerNorm(8, eps=1e-12, dtype=torch.float64)
    return x + norm(x @ (1000 * weight)), x + norm(x @ weight)
