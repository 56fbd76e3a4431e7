"""One short training run of a language model on windows of a text, judged on text that it has not seen.

What experiments with norms of transformers share, so that they differ in the network alone: AdamW with a linear
warm-up and then a constant rate, random windows, and the validation loss both as a user gets it (eval mode: running
statistics) and with the statistics of the validation batches themselves. The gap of the two is what running
statistics cost.
"""

from copy import deepcopy
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor, nn

from normkit.data import TextWindows, text_batches
from normkit.training.batch import call
from normkit.training.evaluate import mean_loss
from normkit.training.loop import Callback, fit
from normkit.training.loss import cross_entropy
from normkit.training.schedule import warmup_constant

__all__ = ["LanguageRun", "batch_statistics_loss", "fit_language_model"]

VALIDATION_BATCHES, VALIDATION_SIZE, VALIDATION_SEED = 8, 16, 0
"""Windows of the validation text: the same ones for every run, so that runs are compared on the same characters."""


@dataclass(frozen=True)
class LanguageRun:
    """What a run gave, in nats a token: its training losses, and the loss on unseen text.

    `validation` is in eval mode; `validation_batch` uses the statistics of each validation batch where the network
    has layers with running statistics, and equals `validation` where it has none.
    """

    losses: list[float]
    validation: float
    validation_batch: float


def fit_language_model(
    model: nn.Module,
    train: Int[Tensor, " length"],
    validation: Int[Tensor, " rest"],
    *,
    context: int = 48,
    batch_size: int = 8,
    steps: int = 300,
    lr: float = 2e-3,
    betas: tuple[float, float] = (0.9, 0.98),
    weight_decay: float = 0.01,
    warmup: int = 50,
    precision: str = "32-true",
    seed: int = 0,
    callback: Callback | None = None,
) -> LanguageRun:
    """Train `model` in place to predict the next token, and measure it on `validation`.

    Args:
        model: tokens (N, L) to logits (N, L, V); used in train mode, left in it.
        train: ids of the training text.
        validation: ids of the text that it is judged on: 8 batches of 16 windows.
        context: tokens of a window.
        batch_size: windows of a training batch.
        steps: training steps.
        lr: AdamW's rate after the warm-up.
        betas: AdamW's.
        weight_decay: AdamW's, on all parameters.
        warmup: steps of the linear rise; 0 for none.
        precision: of the training steps, as `fit` takes it.
        seed: of the windows (the weights are the caller's).
        callback: `callback(step, loss, model)` after each step, gradients still in place.

    Raises:
        ValueError: a text is not longer than the context, or a count is not positive.
        FloatingPointError: the loss is NaN or infinite.
    """
    unseen = text_batches(validation, context, VALIDATION_SIZE, VALIDATION_BATCHES, VALIDATION_SEED)
    history = fit(
        model,
        text_batches(train, context, batch_size, steps, seed),
        steps=steps,
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr, betas, weight_decay=weight_decay),
        schedule=warmup_constant(warmup),
        precision=precision,
        seed=seed,
        callback=callback,
    )
    return LanguageRun(history.losses, mean_loss(model, unseen), batch_statistics_loss(model, unseen))


def batch_statistics_loss(model: nn.Module, batches: TextWindows) -> float:
    """Mean cross-entropy over `batches` of a copy of `model` in train mode: layers use the statistics of each batch.

    Running statistics move in the copy alone. Dropout would act too, so a model that has any is judged without.
    """
    twin = deepcopy(model).train()
    for module in twin.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()
    with torch.no_grad():
        losses = [float(cross_entropy(call(twin, batch), batch)) for batch in batches]
    return sum(losses) / len(losses)
