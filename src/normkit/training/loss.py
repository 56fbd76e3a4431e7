"""The loss that is used where the user gives none: the model's own, else cross entropy."""

from collections.abc import Callable, Mapping
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from normkit.training.batch import output_tensor, targets_of

__all__ = ["Loss", "cross_entropy"]

Loss = Callable[[Any, Any], Tensor]
"""`loss(output, batch)` returns a scalar tensor."""

_IGNORED = -100  # torch's own ignore_index


def cross_entropy(output: Any, batch: Any) -> Float[Tensor, ""]:
    """Mean of −log softmax(z)_y over all targets of the batch, z the logits in `output`.

    Logits are (N, C) or (N, …, C) with targets (N) or (N, …) (a language model's), or (N, C, …) as torch has it.
    Where the model computed its own loss (Hugging Face's do when they are given labels), that is returned.

    Raises:
        ValueError: no targets, targets that are not class numbers, shapes that do not fit, or a label out of range.
        TypeError: no one tensor in the output is the logits (`output_tensor`).
    """
    own = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    if isinstance(own, Tensor):
        return own
    logits, target = output_tensor(output), targets_of(batch)
    if target is None:
        raise ValueError(
            "the batch holds no targets: give pairs (inputs, targets), or pass loss=lambda output, batch: …"
        )
    if target.is_floating_point():
        raise ValueError(
            f"the targets are {target.dtype}: cross entropy wants class numbers (int64); "
            "for another task pass loss=lambda output, batch: …"
        )
    classes_last = _classes_last(logits, target)
    _check_labels(target, classes_last.shape[-1])
    return F.cross_entropy(classes_last.flatten(0, -2), target.flatten().long(), ignore_index=_IGNORED)


def _classes_last(logits: Tensor, target: Tensor) -> Tensor:
    """Logits as (*target.shape, C)."""
    if logits.shape[:-1] == target.shape:
        return logits
    if logits.ndim >= 2 and logits.shape[:1] + logits.shape[2:] == target.shape:
        return logits.movedim(1, -1)
    raise ValueError(
        f"the output has shape {tuple(logits.shape)} and the targets {tuple(target.shape)}: cross entropy wants "
        "(N, C) and (N); for another task pass loss=lambda output, batch: …"
    )


def _check_labels(target: Tensor, classes: int) -> None:
    """A label out of range is an error that names it, not an assertion on a device or a silent memory access."""
    kept = target[target != _IGNORED]
    if kept.numel() == 0:
        return
    low, high = (int(value) for value in kept.aminmax())
    if low < 0 or high >= classes:
        strange = low if low < 0 else high
        hint = ": do the labels start at 1?" if low == 1 and high == classes else ""
        raise ValueError(f"a label is {strange}, and the model has {classes} outputs (labels 0 to {classes - 1}){hint}")
