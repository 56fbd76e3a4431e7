"""Pre-RMSNorm and Pre-CRMSNorm Transformers (Jiang et al. 2023): the same function without the mean."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from normkit import data, surgery, training
from normkit.benchmarks import interleaved
from normkit.conversion import PreCRMSNorm, PreRMSNorm, convert
from normkit.extras import MissingExtraError, require
from normkit.functional import crms_norm, layer_norm, rms_norm
from normkit.nn import CRMSNorm, LayerNorm, RMSNorm
from normkit.papers import Context, Ledger, Paper, Records, Show
from normkit.weights import bake, zero_mean_output

__all__ = ["paper"]

paper = Paper(
    slug="pre-rmsnorm",
    title="Pre-RMSNorm and Pre-CRMSNorm Transformers: Equivalent and Efficient Pre-LN Transformers",
    authors=("Zixuan Jiang", "Jiaqi Gu", "Hanqing Zhu", "David Z. Pan"),
    year=2023,
    arxiv="2305.14858",
    nuisance="the mean of the residual stream",
    pathology="Every reader of a pre-LN stream throws its mean away, so it is carried and recomputed for nothing.",
    remedy="Recentre what writes to the stream once; LayerNorm is then RMSNorm exactly, in d or in d−1 entries.",
    provides=(
        "normkit.conversion.PreRMSNorm",
        "normkit.conversion.PreCRMSNorm",
        "normkit.nn.RMSNorm",
        "normkit.nn.CRMSNorm",
        "normkit.functional.crms_norm",
        "normkit.weights.zero_mean_output",
    ),
    probe="redundant-mean",
    rule="pre-rmsnorm",
)

FORMS: dict[str, Callable[[nn.Module, Tensor], nn.Module]] = {
    "ln": lambda model, x: model,
    "rms": lambda model, x: convert(model, PreRMSNorm(), example=x).model,
    "crms": lambda model, x: convert(model, PreCRMSNorm(), example=x).model,
    "rms, not recentred": lambda model, x: _swapped(model),
}


def _rms_like(norm: Any) -> RMSNorm:
    """An RMSNorm with the gain, shift and eps of a LayerNorm."""
    made = RMSNorm(norm.normalized_shape, norm.eps, bias=True, device=norm.weight.device, dtype=norm.weight.dtype)
    made.load_state_dict(norm.state_dict())
    return made


def _swapped(model: nn.Module) -> nn.Module:
    """A copy whose LayerNorms became RMSNorms and nothing was recentred: the mistake that must show."""
    changed = surgery.copy(model)
    for path, norm in surgery.find(changed, nn.LayerNorm):
        surgery.replace(changed, path, _rms_like(norm))
    surgery.close_fast_path(changed)
    return changed


def _encoder(layers: int, d_model: int = 64) -> nn.Module:
    layer = nn.TransformerEncoderLayer(d_model, 4, 2 * d_model, dropout=0.0, batch_first=True, norm_first=True)
    return nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(d_model), enable_nested_tensor=False).eval()


def _gpt2() -> nn.Module:
    """GPT-2 with 4 layers of width 128, its head tied to the embedding (Hugging Face's, from its configuration)."""
    transformers = require("transformers", extra="text")
    sizes = {"vocab_size": 256, "n_positions": 64, "n_embd": 128, "n_layer": 4, "n_head": 4}
    config = transformers.GPT2Config(
        **sizes, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0
    )
    return transformers.GPT2LMHeadModel(config).eval()


def _output(model: Any, x: Tensor) -> Tensor:
    """Output in float32 or float64; floating inputs are given in the model's dtype."""
    with torch.no_grad():
        inputs = x.to(next(model.parameters()).dtype) if x.is_floating_point() else x
        output = training.output_tensor(model(inputs))
    return output.float() if output.dtype == torch.bfloat16 else output


def _gradients(model: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """Those of a training step, for every parameter."""
    return torch.autograd.grad(training.output_tensor(model(x)).square().mean(), list(model.parameters()))


def _relative(ours: Tensor, wanted: Tensor) -> float:
    return ((ours - wanted).abs().max() / wanted.abs().max()).item()


def _greedy(model: Any, tokens: Tensor) -> list[int]:
    """24 greedy tokens after the first 8 of each row, with a key-value cache."""
    prompt = tokens[:, :8]
    options = {"max_new_tokens": 24, "do_sample": False, "use_cache": True, "pad_token_id": 0}
    return model.generate(prompt, attention_mask=torch.ones_like(prompt), **options).flatten().tolist()


@paper.run(scale="smoke", minutes=0.02)
@paper.run(scale="embedded", seeds=3, minutes=1)
def encoder(ctx: Context) -> list[dict[str, Any]]:
    """`nn.TransformerEncoder` in its four forms, in three precisions."""
    model = _encoder(ctx.pick(smoke=1, embedded=3))
    return _differences("nn.TransformerEncoder", model, torch.randn(4, 10, 64), ctx)


@paper.run(scale="smoke", minutes=0.002)
@paper.run(scale="embedded", seeds=3, minutes=1)
def gpt2(ctx: Context) -> list[dict[str, Any]]:
    """GPT-2 in its four forms, in three precisions, and generating; needs the extra `text`."""
    if ctx.scale == "smoke":
        return [{"missing": "not built at smoke scale: importing transformers alone takes seconds"}]
    try:
        model = _gpt2()
    except MissingExtraError as error:
        return [{"missing": str(error)}]
    return _differences("GPT-2", model, torch.randint(256, (4, 24)), ctx)


FAMILIES = ("GPTNeoX", "OPT", "ViT", "Dinov2", "Phi", "StableLm", "Bloom")
_BLOCKS = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
_OTHER_NAMES = {"vocab_size": 64, "num_key_value_heads": 4, "ffn_dim": 64, "word_embed_proj_dim": 32}
_SMALL: dict[str, Any] = _BLOCKS | _OTHER_NAMES | {"image_size": 16, "patch_size": 8}


@paper.run(scale="smoke", minutes=0.002)
@paper.run(scale="embedded", minutes=1)
def families(ctx: Context) -> list[dict[str, Any]]:
    """Other Pre-LN families of Hugging Face in both forms: relative difference in float64; needs the extra `text`."""
    if ctx.scale == "smoke":
        return [{"missing": "not built at smoke scale: importing transformers alone takes seconds"}]
    try:
        transformers = require("transformers", extra="text")
    except MissingExtraError as error:
        return [{"missing": str(error)}]
    figures = []
    for name in FAMILIES:
        known = getattr(transformers, f"{name}Config")()
        config = type(known)(**{key: value for key, value in _SMALL.items() if hasattr(known, key)})
        model = getattr(transformers, f"{name}Model")(config).eval()
        images = hasattr(config, "image_size")
        x = {"pixel_values": torch.randn(2, 3, 16, 16)} if images else {"input_ids": torch.randint(3, 64, (2, 9))}
        _excite(model, ctx.generator())
        for form, rule in (("rms", PreRMSNorm()), ("crms", PreCRMSNorm())):
            gap = convert(model, rule, example=x).max_rel_diff
            figures.append({"family": name, "form": form, "difference": gap})
    return figures


def _excite(model: nn.Module, draw: torch.Generator) -> None:
    """Gains and shifts that are not trivial."""
    for _, norm in surgery.find(model, nn.LayerNorm):
        nn.init.normal_(norm.get_parameter("weight"), 1, 0.3, generator=draw)
        nn.init.normal_(norm.get_parameter("bias"), 0, 0.3, generator=draw)


def _differences(name: str, model: nn.Module, x: Tensor, ctx: Context) -> list[dict[str, Any]]:
    """max|Δ| / max|output| of every form against LayerNorm's; in bfloat16 against float32 of the same form."""
    _excite(model, ctx.generator())
    models = {"float32": model, "float64": surgery.copy(model).double()}
    wanted = {dtype: _output(plain, x) for dtype, plain in models.items()}
    figures = []
    for form, make in FORMS.items():
        record: dict[str, Any] = {"model": name, "form": form}
        for dtype, plain in models.items():
            made = make(plain, x.double() if dtype == "float64" and x.is_floating_point() else x)
            record[dtype] = _relative(_output(made, x), wanted[dtype])
            if dtype == "float32":
                record["tokens"] = _greedy(made, x) if name == "GPT-2" else None
                record["bfloat16"] = _relative(_output(surgery.copy(made).bfloat16(), x), _output(made, x))
        figures.append(record)
    return figures


class _ResidualMLP(nn.Module):
    """x ← W x; four times x ← x + W₂ relu(W₁ norm(x)); a norm and a head: a pre-norm stream of width 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(64, 32)
        self.norms = nn.ModuleList(nn.LayerNorm(32) for _ in range(5))
        self.up = nn.ModuleList(nn.Linear(32, 64) for _ in range(4))
        self.down = nn.ModuleList(nn.Linear(64, 32) for _ in range(4))
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x.flatten(1))
        for norm, up, down in zip(self.norms, self.up, self.down, strict=False):
            x = x + down(up(norm(x)).relu())
        return self.head(self.norms[-1](x))


VARIANTS = ("pre-LN", "recentred in every step", "recentred once")
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "SGD": partial(torch.optim.SGD, lr=0.1, momentum=0.9),
    "AdamW": partial(torch.optim.AdamW, lr=1e-3),
}


def _residual_mlp(variant: str) -> nn.Module:
    model = _ResidualMLP().double()
    if variant != "pre-LN":
        model.norms = nn.ModuleList(_rms_like(norm) for norm in model.norms)
        for writer in (model.stem, *model.down):
            zero_mean_output(writer)
    return bake(model) if variant == "recentred once" else model


@paper.run(scale="smoke", minutes=0.01)
@paper.run(scale="embedded", seeds=3, minutes=0.5)
def trajectories(ctx: Context) -> list[dict[str, Any]]:
    """Training loss of a pre-LN residual MLP and of its RMSNorm forms, step by step, float64."""
    x, y, _, _ = data.digits()
    figures = []
    for name, optimizer in OPTIMIZERS.items():
        for variant in VARIANTS:
            torch.manual_seed(ctx.seed)
            model = _residual_mlp(variant)
            loader = data.batches(x.double(), y, 64, seed=ctx.seed, drop_last=True)
            steps = ctx.pick(smoke=3, embedded=200)
            history = training.fit(model, loader, steps=steps, optimizer=optimizer, seed=ctx.seed)
            figures.append({"optimizer": name, "variant": variant, "losses": history.losses})
    return figures


@paper.run(scale="smoke", minutes=0.01, alone=True)
@paper.run(scale="embedded", minutes=0.5, alone=True)
def cost(ctx: Context) -> list[dict[str, Any]]:
    """Time of the three norms alone, forward, and of the whole encoder in its three forms, used and trained; CPU."""
    x, weight, bias = torch.randn(ctx.pick(smoke=4, embedded=512), 768), torch.ones(768), torch.zeros(768)
    compressed = x[:, :767].contiguous()
    norms: dict[str, Callable[[], object]] = {
        "ln": lambda: layer_norm(x, (768,), weight, bias),
        "rms": lambda: rms_norm(x, (768,), weight, eps=1e-5),
        "crms": lambda: crms_norm(compressed),
    }
    model = _encoder(ctx.pick(smoke=1, embedded=3), 256)
    tokens = torch.randn(ctx.pick(smoke=1, embedded=8), 32, 256)
    forms = {form: FORMS[form](model, tokens) for form in ("ln", "rms", "crms")}
    rounds = ctx.pick(smoke=2, embedded=31)
    with torch.no_grad():
        measured = {
            "norm": interleaved(norms, rounds=rounds),
            "inference": interleaved(
                {form: partial(_output, made, tokens) for form, made in forms.items()}, rounds=rounds
            ),
        }
    steps = {form: partial(_gradients, made.train(), tokens) for form, made in forms.items()}
    measured["training"] = interleaved(steps, rounds=rounds)
    return [
        {"what": what, "form": form, "us": 1e6 * times[form].median, "gain": times.ratio("ln", form).median}
        for what, times in measured.items()
        for form in times
    ]


@paper.judge
def judge(records: Records, claim: Ledger, show: Show) -> None:
    """Same function, same training, and what it costs."""
    for model, run in (("nn.TransformerEncoder", "encoder"), ("GPT-2", "gpt2")):
        _judge_equivalence(model, records.where(run=run), claim)
    others = records.where(run="families")
    missing = next((r["missing"] for r in others if "missing" in r), None)
    for form in ("rms", "crms"):
        gap = None if missing else others.largest("difference", form=form)
        statement = f"{', '.join(FAMILIES)} to {form}, float64: largest difference over largest output"
        claim(statement, gap, at_most=1e-12, n=len(FAMILIES), source="section 3.1", reason=missing)
    rows = [
        [*key, *(group.largest(dtype) for dtype in ("float32", "float64", "bfloat16"))]
        for key, group in records.groups("model", "form").items()
    ]
    caption = "Largest difference over largest output; bfloat16 against float32 of the same form"
    show.table(["model", "form", "float32", "float64", "bfloat16"], rows, caption=caption)
    _judge_trajectories(records.where(run="trajectories"), claim, show)
    _judge_cost(records.where(run="cost"), claim, show)


def _judge_cost(costs: Records, claim: Ledger, show: Show) -> None:
    source = "abstract: 1 %–10 % less time (GPU)"
    for what, way in (("inference", "forward"), ("training", "forward and backward")):
        for form in ("rms", "crms"):
            claim(
                f"time of the pre-LN encoder over that of its {form} form, {way}",
                costs.mean("gain", what=what, form=form),
                between=(1.01, 1.10),
                n=1,
                source=source,
                reason="the paper's figure is for GPUs; this one is of a CPU",
            )
    claim("the same of a ViT and a GPT on a GPU", None, between=(1.01, 1.10), source=source, reason="needs a GPU")
    cells = [[r["what"], r["form"], r["us"], r["gain"]] for r in costs]
    caption = "The norm alone (forward), the encoder used and trained; one thread, CPU"
    show.table(["what", "form", "µs", "LayerNorm's time over it"], cells, caption=caption)


def _judge_equivalence(model: str, records: Records, claim: Ledger) -> None:
    missing = next((r["missing"] for r in records if "missing" in r), None)
    source = "section 3.1"
    for form in ("rms", "crms"):
        for dtype, bound in (("float64", 1e-12), ("float32", 1e-4)):
            gap = None if missing else records.largest(dtype, form=form)
            statement = f"{model} to {form}, {dtype}: largest difference over largest output"
            claim(statement, gap, at_most=bound, source=source, reason=missing)
        error = None if missing else records.mean("bfloat16", form=form) / records.mean("bfloat16", form="ln")
        claim(f"{model} to {form}: bfloat16 error over LN's own", error, at_most=2, source=source, reason=missing)
        if model == "GPT-2":
            same = None if missing else records.values("tokens", form=form) == records.values("tokens", form="ln")
            statement = f"{model} to {form}: greedy tokens with a key-value cache are the same"
            claim(statement, same, equals=True, source=source, reason=missing)
    mistake = None if missing else records.smallest("float64", form="rms, not recentred")
    statement = f"{model}, norms swapped without recentring: difference"
    claim(statement, mistake, at_least=1e-3, source="shows that the check can fail", reason=missing)


def _judge_trajectories(records: Records, claim: Ledger, show: Show) -> None:
    def apart(optimizer: str, variant: str) -> list[float]:
        """Largest difference of the loss curves from pre-LN's, seed by seed."""
        pairs = zip(
            *(records.values("losses", optimizer=optimizer, variant=v) for v in ("pre-LN", variant)), strict=True
        )
        return [max(abs(a - b) for a, b in zip(*pair, strict=True)) for pair in pairs]

    for name in OPTIMIZERS:
        same, once = max(apart(name, "recentred in every step")), min(apart(name, "recentred once"))
        statement = f"{name}: loss curves of pre-LN and of RMSNorm recentred in every step differ by"
        claim(statement, same, at_most=1e-10, source="section 3.2")
        statement = f"{name}: the curve of RMSNorm recentred once differs by"
        claim(statement, once, at_least=1e-3, source="section 3.2; shows that the check can fail")

    def draw(axes: Any) -> None:
        for variant, style in zip(VARIANTS, ("-", "--", "-"), strict=True):
            axes.plot(records.values("losses", optimizer="SGD", variant=variant)[0], style, label=variant)
        axes.set(xlabel="step", ylabel="training loss", yscale="log")
        axes.legend()

    show.figure(draw, caption="SGD, first seed: the first two curves are one", alt="Two equal loss curves and a third")


@paper.invariance(tolerance=1e-12)
def mean_of_the_stream(generator: torch.Generator) -> tuple[Float[Tensor, "4 9"], Float[Tensor, "4 9"]]:
    """RMSNorm of the recentred stream is LayerNorm of the stream whatever its mean."""
    x = torch.randn(4, 9, generator=generator, dtype=torch.float64)
    recentred = x - x.mean(-1, keepdim=True)
    return LayerNorm(9, dtype=torch.float64)(x + 7), RMSNorm(9, 1e-5, dtype=torch.float64)(recentred)


@paper.invariance(tolerance=1e-12)
def last_entry(generator: torch.Generator) -> tuple[Float[Tensor, "4 8"], Float[Tensor, "4 8"]]:
    """CRMSNorm of all entries but the last is RMSNorm of a zero-mean stream."""
    x = torch.randn(4, 9, generator=generator, dtype=torch.float64)
    recentred = x - x.mean(-1, keepdim=True)
    return CRMSNorm(8, eps=1e-5)(recentred[:, :8]), RMSNorm(9, 1e-5, dtype=torch.float64)(recentred)[:, :8]
