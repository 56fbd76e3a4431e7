"""What training at one learning rate does to the residual stream of the character model."""

import math
from statistics import fmean, median
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from normkit import data, training
from normkit.models import Transformer, character_model
from normkit.papers import Context

__all__ = ["FIGURES", "diverged", "hidden", "spikes", "train_placement", "variance"]

FIGURES = ("loss", "validation", "variance", "largest")
SPIKE = 3.0
STUCK_STEPS = 50


def hidden(model: Transformer, tokens: Int[Tensor, "batch length"]) -> list[Float[Tensor, "batch length d_model"]]:
    """The stream as it enters the first layer and behind each layer, in evaluation."""
    seen: list[Tensor] = []
    hooks = [model.layers[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))]
    hooks += [layer.register_forward_hook(lambda _, args, output: seen.append(output)) for layer in model.layers]
    try:
        with training.evaluating(model):
            model(tokens)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def variance(x: Float[Tensor, "*tokens d_model"]) -> float:
    """Mean over tokens of the population variance over channels, in float32."""
    return float(x.float().var(-1, correction=0).mean())


def train_placement(
    ctx: Context,
    placement: str,
    lr: float,
    *,
    layers: int = 6,
    steps: int = 250,
    batch_size: int = 8,
    context: int = 48,
    precision: str = "32-true",
    **options: Any,
) -> dict[str, Any]:
    """Train the character model without warm-up or clipping: how it went, and what its stream is on unseen text.

    A record of plain figures: `loss` (mean of the last 25 steps), `validation`, `diverged`, `spikes`, `depth` (variance
    of the stream by layer), `variance` and `largest` behind the last; infinite where the run broke off.
    """
    steps, layers = ctx.pick(smoke=(3, 1), embedded=(steps, layers))
    train, rest, alphabet = data.character_split()
    torch.manual_seed(ctx.seed)
    model = character_model(len(alphabet), layers, placement=placement, context=context, **options)
    norms: list[float] = []

    def watch(step: int, loss: float, model: nn.Module) -> None:
        norms.append(float(nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])))

    record = {"placement": placement, "lr": lr, "embed_norm": "embed_norm" in options, "precision": precision}
    budget: dict[str, Any] = {"steps": steps, "batch_size": batch_size, "context": context, "precision": precision}
    recipe: dict[str, Any] = {"lr": lr, "betas": (0.9, 0.95), "weight_decay": 0.1, "warmup": 0}
    try:
        run = training.fit_language_model(model, train, rest, **budget, **recipe, seed=ctx.seed, callback=watch)
    except FloatingPointError:
        return record | dict.fromkeys(FIGURES, math.inf) | {"diverged": True, "spikes": spikes(norms), "depth": []}
    tokens, _ = next(iter(data.text_batches(rest, context, 16, 1)))
    streams = hidden(model, tokens.to(model.embed.weight.device))
    return record | {
        "loss": fmean(run.losses[-25:]),
        "validation": run.validation,
        "diverged": diverged(run.losses),
        "spikes": spikes(norms),
        "depth": [variance(x) for x in streams],
        "variance": variance(streams[-1]),
        "largest": float(streams[-1].abs().max()),
    }


def spikes(norms: list[float]) -> int:
    """Steps whose global gradient norm exceeds three times the median of those before."""
    return sum(norm > SPIKE * median(norms[:step]) for step, norm in enumerate(norms) if step)


def diverged(losses: list[float]) -> bool:
    """Whether the loss stayed above its first value for 50 steps in a row."""
    longest = above = 0
    for loss in losses:
        above = above + 1 if loss > losses[0] else 0
        longest = max(longest, above)
    return longest >= STUCK_STEPS
