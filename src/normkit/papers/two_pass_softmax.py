"""The Two-Pass Softmax Algorithm (Dukhan, Ablavatski 2020): exponentials that cannot overflow, and fewer passes."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from normkit import data
from normkit.benchmarks import Timings, interleaved
from normkit.functional import cross_entropy, log_softmax, logsumexp, softmax
from normkit.kernels import available
from normkit.models import Transformer
from normkit.papers import Context, Ledger, Paper, Records, Show

__all__ = ["paper"]

paper = Paper(
    slug="two-pass-softmax",
    title="The Two-Pass Softmax Algorithm",
    authors=("Marat Dukhan", "Artsiom Ablavatski"),
    year=2020,
    arxiv="2001.04438",
    nuisance="a constant added to all entries of a row",
    pathology="exp overflows, so a row is scanned for its maximum first: an extra trip to memory, and low bits lost.",
    remedy="Keep each exponential as mantissa and exponent, which cannot overflow: one pass sums, one pass writes.",
    provides=(
        "normkit.functional.softmax",
        "normkit.functional.log_softmax",
        "normkit.functional.logsumexp",
        "normkit.functional.cross_entropy",
        "normkit.functional.softmax_pair",
        "normkit.functional.merge_pairs",
        "normkit.nn.Softmax",
        "normkit.nn.LogSoftmax",
        "normkit.nn.CrossEntropyLoss",
    ),
    probe="precision",
)

PUBLISHED = ("two-pass-paper", "three-pass-recompute", "three-pass-reload")
# rows × D of the comparison with torch; the bar is 1.4 below 64 entries a row and 2.0 from there
AGAINST_TORCH = ((512, 16), (256, 32), (768, 64), (256, 128), (64, 512), (64, 1024), (1024, 4096), (1, 2**20))
CROSS_ENTROPY = ((64, 1024), (2048, 1024), (512, 50257))
LOSSES = {"torch": torch.nn.functional.cross_entropy, "ours": cross_entropy}
ACCURACY = ((16, 1.0), (1000, 4.0), (4096, 30.0), (32768, 4.0), (131072, 4.0), (2**20, 4.0), (2**24, 4.0))


def _why_not_native() -> str | None:
    """Why the native kernel cannot be judged on this machine; None if it can."""
    for kernel in available():
        if kernel["op"] == "softmax" and kernel["kernel"] == "native":
            return None if kernel["usable"] else f"the native kernel is not usable here: {kernel['reason']}"
    return "the native kernel is not usable here"


def _gains(timings: Timings, ours: str) -> dict[str, float]:
    """Every other variant's time over ours, median of the rounds."""
    return {name: timings.ratio(name, ours).median for name in timings if name != ours}


@paper.run(scale="smoke", minutes=0.01, alone=True)
@paper.run(scale="embedded", minutes=2, alone=True)
def algorithms(ctx: Context) -> list[dict[str, Any]]:
    """The published algorithms and our choice on one row, uniform in ±1000, written to reused memory."""
    if _why_not_native():
        return []
    figures = []
    for D in ctx.pick(smoke=(2**10,), embedded=(2**6, 2**10, 2**14, 2**18, 2**20, 2**22, 2**24)):
        x = torch.empty(1, D).uniform_(-1000, 1000)
        out = torch.empty_like(x)
        calls: dict[str, Callable[[], object]] = {"copy": partial(out.copy_, x), "ours": partial(softmax, x, out=out)}
        calls |= {name: partial(softmax, x, out=out, kernel=name) for name in PUBLISHED}
        timings = interleaved(calls, rounds=ctx.pick(smoke=2, embedded=21))
        figures += [
            {
                "D": D,
                "variant": name,
                "ns": 1e9 * timings[name].median / D,
                "over_ours": timings.ratio(name, "ours").median,
            }
            for name in timings
        ]
        two, recompute = "two-pass-paper", "three-pass-recompute"
        figures.append({"D": D, "gain": timings.ratio(recompute, two).median})
    return figures


@paper.run(scale="smoke", minutes=0.01, alone=True)
@paper.run(scale="embedded", minutes=2, alone=True)
def against_torch(ctx: Context) -> list[dict[str, Any]]:
    """How much longer torch takes: softmax, logsumexp and backward to reused memory; softmax with a fresh output."""
    rounds = ctx.pick(smoke=2, embedded=31)
    figures = []
    for shape in ctx.pick(smoke=((4, 64),), embedded=AGAINST_TORCH):
        x, out = torch.randn(shape), torch.empty(shape)
        calls = {
            "torch": partial(torch.softmax, x, -1, out=out),
            "ours": partial(softmax, x, out=out),
            "copy": partial(out.copy_, x),
        }
        figures.append({"what": "softmax", "shape": list(shape)} | _gains(interleaved(calls, rounds=rounds), "ours"))
    x = torch.randn(ctx.pick(smoke=(4, 64), embedded=(1024, 8192)))
    calls = {"torch": partial(torch.softmax, x, -1), "ours": partial(softmax, x)}
    fresh = _gains(interleaved(calls, rounds=ctx.pick(smoke=2, embedded=11)), "ours")
    small = x[: ctx.pick(smoke=4, embedded=64), :1024]
    leaf, upstream = small.clone().requires_grad_(), torch.randn_like(small)
    backward = {
        name: partial(torch.autograd.grad, function(leaf, -1), leaf, upstream, retain_graph=True)
        for name, function in (("torch", torch.softmax), ("ours", softmax))
    }
    sums = {"torch": partial(torch.logsumexp, small, -1), "ours": partial(logsumexp, small)}
    return [
        *figures,
        {"what": "stream"} | _stream(ctx),
        {"what": "fresh", "shape": list(x.shape)} | fresh,
        {"what": "backward", "shape": list(small.shape)} | _gains(interleaved(backward, rounds=rounds), "ours"),
        {"what": "logsumexp", "shape": list(small.shape)} | _gains(interleaved(sums, rounds=rounds), "ours"),
    ]


def _stream(ctx: Context) -> dict[str, Any]:
    """The copy's time over ours for a tensor several times as large as the caches, written to reused memory."""
    x = torch.randn(ctx.pick(smoke=(4, 64), embedded=(8192, 4096)))
    out = torch.empty_like(x)
    calls = {
        "torch": partial(torch.softmax, x, -1, out=out),
        "ours": partial(softmax, x, out=out),
        "copy": partial(out.copy_, x),
    }
    return {"shape": list(x.shape)} | _gains(interleaved(calls, rounds=ctx.pick(smoke=2, embedded=11)), "ours")


@paper.run(scale="smoke", minutes=0.01, alone=True)
@paper.run(scale="embedded", minutes=2, alone=True)
def training(ctx: Context) -> list[dict[str, Any]]:
    """Cross-entropy forward and backward beside torch's, and a small language model trained with either."""
    figures: list[dict[str, Any]] = []
    for shape in ctx.pick(smoke=((4, 64),), embedded=CROSS_ENTROPY):
        logits, target = torch.randn(shape, requires_grad=True), torch.randint(shape[1], shape[:1])
        calls = {name: partial(_gradient_of, loss, logits, target) for name, loss in LOSSES.items()}
        timings = interleaved(calls, rounds=ctx.pick(smoke=2, embedded=15))
        figures.append({"what": "cross-entropy", "shape": list(shape)} | _gains(timings, "ours"))
    vocabulary, steps = ctx.pick(smoke=64, embedded=8192), ctx.pick(smoke=2, embedded=200)
    ids, _ = data.words(data.text("pydoc-topics"), vocabulary)
    windows = list(data.text_batches(ids, 32, 16, steps, ctx.seed))
    curves = {name: _losses(_Step(loss, vocabulary, ctx.seed), windows) for name, loss in LOSSES.items()}
    for step, (torchs, ours) in enumerate(zip(curves["torch"], curves["ours"], strict=True)):
        figures.append({"what": "curve", "step": step, "torch": torchs, "ours": ours})
    return figures + _shares(
        {name: _Step(loss, vocabulary, ctx.seed) for name, loss in LOSSES.items()}, windows[0], ctx
    )


def _gradient_of(loss: Callable[..., Tensor], logits: Tensor, target: Tensor) -> Tensor:
    return torch.autograd.grad(loss(logits, target), logits)[0]


class _Step:
    """A small language model over words and what a step of its training does; the loss is all that differs."""

    def __init__(self, loss: Callable[..., Tensor], vocabulary: int, seed: int) -> None:
        torch.manual_seed(seed)
        self.loss, self.model = loss, Transformer(vocabulary, 64, 2, 2, max_length=32)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 3e-3)

    def __call__(self, x: Tensor, y: Tensor) -> float:
        value = self.loss(self.model(x).flatten(0, 1), y.flatten())
        self.optimizer.zero_grad()
        value.backward()
        self.optimizer.step()
        return value.item()


def _losses(step: _Step, windows: list[tuple[Tensor, Tensor]]) -> list[float]:
    return [step(x, y) for x, y in windows]


def _shares(steps: dict[str, _Step], window: tuple[Tensor, Tensor], ctx: Context) -> list[dict[str, Any]]:
    """How much of a training step the loss and its gradient take, with either loss."""
    x, y = window
    with torch.no_grad():
        logits = steps["ours"].model(x).flatten(0, 1)
    logits.requires_grad_()
    calls: dict[str, Callable[[], object]] = {f"step, {name}": partial(step, x, y) for name, step in steps.items()}
    calls |= {f"loss, {name}": partial(_gradient_of, step.loss, logits, y.flatten()) for name, step in steps.items()}
    times = interleaved(calls, rounds=ctx.pick(smoke=2, embedded=15))
    return [
        {
            "what": "share",
            "loss": name,
            "step_ms": 1e3 * times[f"step, {name}"].median,
            "share": times[f"loss, {name}"].median / times[f"step, {name}"].median,
        }
        for name in steps
    ]


def _ulp(truth: Tensor) -> Tensor:
    """One unit in the last place of float32 at each value, in float64."""
    return torch.exp2(torch.frexp(truth).exponent.double() - 24)


def _worst(found: Tensor, truth: Tensor) -> float:
    """Largest error in units in the last place, over the elements of at least 2^-125."""
    kept = truth >= 2.0**-125
    return ((found.double() - truth)[kept].abs() / _ulp(truth[kept])).max().item()


@paper.run(scale="smoke", minutes=0.01)
@paper.run(scale="embedded", seeds=2, minutes=1)
def accuracy(ctx: Context) -> list[dict[str, Any]]:
    """Errors against float64 on normal rows: softmax in units in the last place, log-softmax beside its bar."""
    figures = []
    for D, sigma in ACCURACY[: ctx.pick(smoke=2, embedded=len(ACCURACY))]:
        x = sigma * torch.randn(max(1, 2**16 // D), D)
        truth = torch.softmax(x.double(), -1)
        record: dict[str, Any] = {"D": D, "sigma": sigma, "ours": _worst(softmax(x), truth)}
        record["torch"] = _worst(torch.softmax(x, -1), truth)
        L = torch.logsumexp(x.double(), -1, keepdim=True)
        off = (log_softmax(x).double() - (x.double() - L)).abs()
        allowed = _ulp(torch.maximum(x.double().abs(), L.abs())) + 3e-7
        figures.append(record | {"log_error": (off / allowed).max().item()})
    return figures


@paper.judge
def judge(records: Records, claim: Ledger, show: Show) -> None:
    """The paper's comparison, speed against the framework, and accuracy."""
    missing = _why_not_native()
    _judge_algorithms(records.where(run="algorithms"), claim, show, missing)
    _judge_speed(records.where(run="against_torch"), claim, show, missing)
    errors = records.where(run="accuracy")
    worst = errors.largest("ours")
    claim(
        "largest error of softmax, ULP, every D up to 2^24",
        worst,
        at_most=6,
        source="this project's bar",
        reason=missing,
    )
    log_error = errors.largest("log_error")
    statement = "log-softmax: largest error over 1 ULP of max(|x|, |L|) + 3e-7"
    claim(statement, log_error, at_most=1, source="this project's bar", reason=missing)
    _judge_training(records.where(run="training"), claim, show, missing)
    claim(
        "instructions per element of the reload kernel on AVX2",
        at_most=3.5,
        source="this project's bar",
        reason="counted with callgrind, which a run of claims does not need to find installed",
    )
    claim(
        "softmax with all cores: torch's time over ours",
        at_least=1.8,
        source="this project's bar",
        reason="a run has one thread; `normkit bench softmax` measures more",
    )
    rows = [
        [d, s, errors.mean("ours", D=d, sigma=s), errors.mean("torch", D=d, sigma=s)]
        for d, s in ACCURACY
        if errors.where(D=d, sigma=s)
    ]
    show.table(["D", "σ", "ours, ULP", "torch, ULP"], rows, caption="Largest error of softmax against float64")

    def draw(axes: Any) -> None:
        for name in ("torch", "ours"):
            axes.plot([row[0] for row in rows], [row[3 if name == "torch" else 2] for row in rows], "o-", label=name)
        axes.set(xscale="log", yscale="log", xlabel="entries in a row", ylabel="largest error, ULP")
        axes.legend()

    show.figure(
        draw, caption="Error of softmax against the length of the row", alt="torch's error grows, ours does not"
    )


def _judge_algorithms(records: Records, claim: Ledger, show: Show, missing: str | None) -> None:
    """The claim of the paper's abstract: out of cache the two-pass algorithm wins."""
    large = [r["gain"] for r in records if "gain" in r and r["D"] >= 2**22]
    gain = min(large) if large else None
    statement = "three-pass (recompute) over two-pass, time, worst D ≥ 2^22"
    claim(statement, gain, at_least=1.05, n=1, source="abstract: up to 1.18 (AVX2), 1.28 (AVX-512)", reason=missing)
    best = min((r["over_ours"] for r in records if r.get("variant") in PUBLISHED), default=None)
    statement = "best published algorithm over our choice, time, worst D"
    claim(statement, best, at_least=1 / 1.1, n=1, source="this project's bar", reason=missing)
    rows = [
        [d, *(records.mean("ns", D=d, variant=v) for v in ("copy", "ours", *PUBLISHED))] for d in records.distinct("D")
    ]
    show.table(
        ["D", "copy", "ours", *PUBLISHED], rows, caption="ns per element, one row, one thread, median of the rounds"
    )


def _judge_speed(records: Records, claim: Ledger, show: Show, missing: str | None) -> None:
    rows = records.where(what="softmax")
    bars = {"16 ≤ D < 64": (1.4, lambda D: 16 <= D < 64), "D ≥ 64": (2.0, lambda D: D >= 64)}
    for name, (bar, belongs) in bars.items():
        worst = min((r["torch"] for r in rows if belongs(r["shape"][-1])), default=None)
        statement = f"softmax, {name}, one thread: torch's time over ours, worst shape"
        claim(statement, worst, at_least=bar, n=1, source="this project's bar", reason=missing)
    for what, bar in (("fresh", 3.0), ("backward", 1.1), ("logsumexp", 4.0)):
        shape, gain = (records.values(key, what=what)[0] for key in ("shape", "torch"))
        statement = f"{what}, {shape[0]} × {shape[1]}, one thread: torch's time over ours"
        claim(statement, gain, at_least=bar, n=1, source="this project's bar", reason=missing)
    light = 1 / records.mean("copy", what="stream")
    height, D = records.values("shape", what="stream")[0]
    statement = f"softmax, {height} × {D}, out of cache: our time over an ordinary copy's"
    claim(statement, light, at_most=1.25, n=1, source="this project's bar", reason=missing)
    cells = [
        [f"{r['shape'][0]} × {r['shape'][1]}", r["what"], r["torch"], 1 / r["copy"] if "copy" in r else None]
        for r in records
    ]
    show.table(["rows × D", "what", "torch's time over ours", "our time over a copy's"], cells, caption="One thread")


def _judge_training(records: Records, claim: Ledger, show: Show, missing: str | None) -> None:
    rows = records.where(what="cross-entropy")
    worst = min((r["torch"] for r in rows), default=None)
    statement = "cross-entropy, forward and backward, one thread: torch's time over ours, worst shape"
    claim(statement, worst, at_least=3.5, n=1, source="this project's bar", reason=missing)
    curve = records.where(what="curve")
    apart = max((abs(r["torch"] - r["ours"]) for r in curve if r["step"] < 20), default=None)
    statement = "language model: largest distance of the losses in the first 20 steps"
    claim(statement, apart, at_most=1e-4, n=1, source="this project's bar")
    torchs, ours = (records.where(what="share").mean("share", loss=name) for name in LOSSES)
    statement = "language model: share of the loss in a step, torch's over ours"
    claim(statement, torchs / ours, at_least=1, n=1, source="this project's bar", reason=missing)
    cells = [[f"{r['shape'][0]} × {r['shape'][1]}", r["torch"]] for r in rows]
    show.table(["rows × classes", "torch's time over ours"], cells, caption="Cross-entropy, forward and backward")
    parts = [[r["loss"], r["step_ms"], r["share"]] for r in records.where(what="share")]
    show.table(["loss", "step, ms", "share of the loss"], parts, caption="A training step of a small language model")


@paper.invariance(tolerance=1e-12)
def a_constant_in_the_row(generator: torch.Generator) -> tuple[Float[Tensor, "3 9"], Float[Tensor, "3 9"]]:
    """Softmax does not see a constant added to a row, far beyond where exp overflows."""
    x = torch.randn(3, 9, generator=generator, dtype=torch.float64)
    return softmax(x + 1000.0), softmax(x)
