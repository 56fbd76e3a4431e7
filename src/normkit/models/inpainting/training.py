"""Training of an inpainting network, with the discriminator as in the paper or by distances alone.

Both networks step at once from the losses of the same weights, so that one optimiser and one checkpoint hold the whole
state of a run; the authors' code steps the discriminator first.

Source: Yu et al. 2020, arXiv:1911.10375, section 4.1, and the authors' code.
"""

import os
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from normkit.models.inpainting.discriminator import InpaintDiscriminator
from normkit.models.inpainting.examples import Examples, loader
from normkit.models.inpainting.generator import InpaintGenerator
from normkit.models.inpainting.losses import discriminator_loss, generator_loss
from normkit.training import History, Schedule, fit

__all__ = ["ADVERSARIAL", "DISTANCES", "Recipe", "train"]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: Adam with these rates and betas (0, 0.9), and the weights of the losses.

    Attributes:
        rate: learning rate of the generator.
        discriminator_rate: that of the discriminator; None trains without one.
        full_weight: weight of the distance over the whole picture, beside 1 for that in the holes.
        adversarial_weight: weight of the discriminator's judgement.
        decay: factor on the rates: by pass over the data from the second pass on, or, where there is no discriminator,
            once, for the last 30 % of the steps.
    """

    rate: float = 1e-4
    discriminator_rate: float | None = 1e-5
    full_weight: float = 0.0
    adversarial_weight: float = 0.1
    decay: float = 0.8

    def schedule(self, batches_a_pass: int) -> Schedule:
        """The factor on the rates by step."""
        if self.discriminator_rate is None:
            return lambda step, total: self.decay if step >= 0.7 * total else 1.0
        return lambda step, total: self.decay ** max(0, step // batches_a_pass - 1)


ADVERSARIAL = Recipe()
"""The authors' recipe."""
DISTANCES = Recipe(rate=1e-3, discriminator_rate=None, full_weight=0.1, decay=0.2)
"""Distances alone: what a small network learns by on a CPU."""


def train(
    generator: InpaintGenerator,
    examples: Examples,
    recipe: Recipe = ADVERSARIAL,
    *,
    steps: int,
    batch_size: int = 14,
    discriminator: InpaintDiscriminator | None = None,
    seed: int = 0,
    workers: int = 0,
    accelerator: str | None = None,
    precision: str = "32-true",
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = True,
    progress: bool | str = False,
) -> History:
    """Train `generator` in place for `steps` batches of `examples`; see `normkit.training.fit` for what is not here.

    Args:
        generator: the network.
        examples: the pictures and their masks.
        recipe: rates and weights; `ADVERSARIAL` or `DISTANCES`, or your own.
        steps: batches in all.
        batch_size: pictures a batch; the paper's is 14.
        discriminator: the judge; made here where the recipe wants one and none is given.
        seed: of the order, the crops, the masks, and the discriminator made here.
        workers: processes that read the pictures.
        accelerator: where to train, as `fit` takes it.
        precision: as `fit` takes it.
        checkpoint: a file for the state of the run, as `fit` takes it.
        resume: continue from it where it exists.
        progress: True or a label shows a bar.

    Raises:
        ValueError: too few pictures for a batch, no step, or a checkpoint of another network.
        FloatingPointError: the loss is not finite.
    """
    batches = loader(examples, batch_size, seed, workers)
    if recipe.discriminator_rate is not None and discriminator is None:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            discriminator = InpaintDiscriminator(generator.options["width"])
        discriminator.to(next(generator.parameters()).device)
    pair = _Pair(generator, None if recipe.discriminator_rate is None else discriminator, recipe)
    return fit(
        pair,
        batches,
        forward=lambda model, batch: model(batch["images"], batch["masks"]),
        loss=lambda output, batch: output,
        optimizer=lambda _: torch.optim.Adam(pair.groups(), betas=(0.0, 0.9)),
        schedule=recipe.schedule(len(batches)),
        steps=steps,
        seed=seed,
        accelerator=accelerator,
        precision=precision,
        checkpoint=checkpoint,
        resume=resume,
        progress=progress,
    )


class _Pair(nn.Module):
    """Both networks and the sum of their losses; no gradient of the one's loss reaches the other."""

    def __init__(self, generator: nn.Module, discriminator: InpaintDiscriminator | None, recipe: Recipe) -> None:
        super().__init__()
        self.generator, self.discriminator, self.recipe = generator, discriminator, recipe

    def groups(self) -> list[dict[str, object]]:
        groups: list[dict[str, object]] = [{"params": [*self.generator.parameters()], "lr": self.recipe.rate}]
        if self.discriminator is not None:
            groups.append({"params": [*self.discriminator.parameters()], "lr": self.recipe.discriminator_rate})
        return groups

    def forward(self, images: Tensor, masks: Tensor) -> Tensor:
        recipe = self.recipe
        prediction = self.generator(images, masks)
        judged = None if self.discriminator is None else _logits(self.discriminator, prediction, fixed=True)
        weights = {"full_weight": recipe.full_weight, "adversarial_weight": recipe.adversarial_weight}
        loss = generator_loss(prediction, images, masks, judged, **weights)
        if self.discriminator is None:
            return loss
        fake = _logits(self.discriminator, prediction.detach())
        return loss + discriminator_loss(_logits(self.discriminator, images), fake)


def _logits(discriminator: InpaintDiscriminator, images: Tensor, fixed: bool = False) -> Tensor:
    """The discriminator's log odds; with `fixed` its weights are constants to the gradient."""
    if not fixed:
        return discriminator.logits(images)
    judge = _Logits(discriminator)
    weights = {name: value.detach() for name, value in judge.named_parameters()}
    log_odds: Tensor = functional_call(judge, weights, (images,))
    return log_odds


class _Logits(nn.Module):
    """The discriminator with its log odds as the result of a call, for `functional_call`."""

    def __init__(self, judge: InpaintDiscriminator) -> None:
        super().__init__()
        self.judge = judge

    def forward(self, images: Tensor) -> Tensor:
        return self.judge.logits(images)
