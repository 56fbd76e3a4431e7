"""What a training with a teacher needs: the loss that asks it about each batch, and the estimate of α.

Source: Borup and Andersen (2021), Even your Teacher Needs Guidance, arXiv:2102.13088, the experiments and their code.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from normkit.losses import distillation_loss, optimal_alpha
from normkit.losses.distillation import class_probabilities
from normkit.training.batch import Forward, call, output_tensor, targets_of
from normkit.training.evaluate import evaluating

__all__ = ["DistillationLoss", "estimate_alpha"]


@dataclass(frozen=True)
class DistillationLoss:
    """The loss of a student as `training.fit(loss=…)` takes it: the teacher is asked about each batch.

    The teacher is put in eval mode for the question and back into the mode that it was in, gets no gradient, and is no
    part of the student, so that neither `student.train()` nor a checkpoint of the student touches it.

    Args:
        teacher: the model of the round before, on the student's device; None for the first round (α = 1).
        alpha: the weight of the ground truth.
        kind, temperature: as `normkit.losses.distillation_loss` takes them.
        regularized: the module whose parameters' norms are added, or None.
        regularization: the factor of Σ_p ‖p‖₂ over the parameters that are trained.
        forward: `forward(teacher, batch)`, for models that do not take their batch as `training.call` gives it.
    """

    teacher: nn.Module | None
    alpha: float = 1.0
    kind: str = "mse-softmax"
    temperature: float = 1.0
    regularized: nn.Module | None = None
    regularization: float = 0.0
    forward: Forward | None = None

    def __call__(self, output: Any, batch: Any) -> Tensor:
        """The scalar loss of the student's output on a batch."""
        taught = None
        if self.teacher is not None:
            with evaluating(self.teacher):
                taught = output_tensor(call(self.teacher, batch, self.forward))
        logits = output_tensor(output)
        loss = distillation_loss(logits, taught, _labels(batch), self.alpha, self.kind, self.temperature)
        if self.regularized is None or not self.regularization:
            return loss
        norms = [parameter.norm() for parameter in self.regularized.parameters() if parameter.requires_grad]
        return loss + self.regularization * torch.stack(norms).sum()


def estimate_alpha(
    first: nn.Module, zero: nn.Module, batches: Iterable[Any], *, forward: Forward | None = None, clip: bool = True
) -> float:
    """The weight of the ground truth for a round, from the first model and the round's α = 0 student.

    Probabilities of both on the validation data, in one pass over them, go into `normkit.losses.optimal_alpha`. Exact
    where the student is affine in α, as kernel ridge regression is; an estimate for networks.

    Args:
        first: the model trained on the ground truth alone.
        zero: the student trained on the teacher alone.
        batches: labelled batches that neither was trained on.
        forward: `forward(model, batch)`, for batches of other shapes.
        clip: restrict to [0, 1].

    Raises:
        ValueError: fewer than 2 samples, or batches without labels.
    """
    kept: list[tuple[Tensor, Tensor, Tensor]] = []
    device = next((parameter.device for parameter in first.parameters()), torch.device("cpu"))
    with evaluating(first), evaluating(zero):
        for batch in batches:
            moved = _moved(batch, device)
            logits = [output_tensor(call(model, moved, forward)).double() for model in (first, zero)]
            kept.append((logits[0].softmax(-1), logits[1].softmax(-1), class_probabilities(_labels(moved), logits[0])))
    if (count := sum(len(one) for one, _, _ in kept)) < 2:
        raise ValueError(f"the validation data hold {count} samples: an estimate of alpha needs at least 2")
    one, zeros, wanted = (torch.cat(parts) for parts in zip(*kept, strict=True))
    return optimal_alpha(one, zeros, wanted, clip)


def _labels(batch: Any) -> Tensor:
    target = targets_of(batch)
    if target is None:
        raise ValueError("the batch holds no targets: distillation with a ground truth needs pairs (inputs, targets)")
    return target


def _moved(batch: Any, device: torch.device) -> Any:
    from lightning_fabric.utilities.apply_func import move_data_to_device

    return move_data_to_device(batch, device)
