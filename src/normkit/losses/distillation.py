"""The loss of a self-distilled student, and the weight of the ground truth that serves it best.

    L = α · D(z, y) + (1 − α) · D(z, z_teacher)

α is the weight of the **ground truth**: 1 is no distillation, 0 the teacher alone (many libraries weigh the teacher).

Shapes: logits (…, C), classes last; targets (…) class numbers or (…, C) probabilities.

Source: Borup and Andersen (2021), Even your Teacher Needs Guidance: Ground-Truth Targets Dampen Regularization Imposed
by Self-Distillation, arXiv:2102.13088 (NeurIPS 2021), and its CIFAR-10 code; the temperature: Hinton, Vinyals and
Dean (2015), arXiv:1503.02531, section 2.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

__all__ = ["KINDS", "distillation_loss", "ground_truth_share", "optimal_alpha"]

KINDS = ("mse-softmax", "ce-kl")

_SAME = 1e-12
"""Two students whose squared distance is below this share of the first's square are one: every α is as good."""


def distillation_loss(
    logits: Float[Tensor, "..."],
    teacher_logits: Float[Tensor, "..."] | None,
    target: Shaped[Tensor, "..."],
    alpha: float | None = None,
    kind: str = "mse-softmax",
    temperature: float = 1.0,
    *,
    ground_truth_weight: float | None = None,
) -> Float[Tensor, ""]:
    """α · (distance to the ground truth) + (1 − α) · (distance to the teacher), a scalar.

    - "mse-softmax": mean((softmax(z) − y)²) and T² mean((softmax(z/T) − softmax(z_t/T))²), over all entries;
    - "ce-kl": −Σ y log softmax(z) and T² KL(softmax(z_t/T) ‖ softmax(z/T)), mean over all samples.

    Args:
        logits: z (…, C) of the student.
        teacher_logits: z_t, of the same shape; no gradient flows into them. None only where α = 1.
        target: y: class numbers (…) or probabilities (…, C).
        alpha: the weight of the ground truth, in [0, 1].
        kind: "mse-softmax" (the paper's) or "ce-kl".
        temperature: T of the teacher's part; T² keeps its gradient's size.
        ground_truth_weight: `alpha` under the name that cannot be mistaken.

    Raises:
        ValueError: α outside [0, 1] or given twice or not at all, an unknown kind, T not positive, no teacher for
            α < 1, shapes that do not fit, no sample, or a label out of range (in compiled code that is not looked at).
    """
    weight = ground_truth_share(alpha, ground_truth_weight)
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}: it must be one of {', '.join(KINDS)}")
    if not 0 < temperature < float("inf"):
        raise ValueError(f"temperature is {temperature}: it must be positive")
    if teacher_logits is None and weight != 1:
        raise ValueError(f"alpha is {weight} and there are no teacher_logits: only alpha=1 does without a teacher")
    if teacher_logits is not None and teacher_logits.shape != logits.shape:
        raise ValueError(
            f"the student's logits are {tuple(logits.shape)} and the teacher's {tuple(teacher_logits.shape)}: "
            "they must have one shape"
        )
    if logits.numel() == 0:
        raise ValueError(f"the logits are {tuple(logits.shape)}: a mean needs one sample at least")
    logits = _wide(logits)
    wanted = class_probabilities(target, logits)
    distance = _squared if kind == "mse-softmax" else _divergence
    truth = distance(logits, wanted)
    if teacher_logits is None:
        return truth
    taught = F.softmax(_wide(teacher_logits.detach()) / temperature, -1)
    return weight * truth + (1 - weight) * temperature**2 * distance(logits / temperature, taught, relative=True)


def optimal_alpha(
    pred_one: Float[Tensor | np.ndarray, "..."],
    pred_zero: Float[Tensor | np.ndarray, "..."],
    target: Shaped[Tensor | np.ndarray, "..."],
    clip: bool = True,
) -> float:
    """The α of a round that is best on validation data, without a grid: ⟨y − f₀, Δ⟩ / ‖Δ‖² with Δ = f₁ − f₀.

    A round's student is α f₁ + (1 − α) f₀ (exactly for kernel ridge regression, nearly for networks), so its squared
    error is a parabola in α. The sums run over samples and outputs. Where f₁ and f₀ are one (‖Δ‖² ≤ 10⁻¹² ‖f₁‖²) the
    answer is 1. The data must not be those that were trained on: there the answer is 1 as well.

    Args:
        pred_one: f₁, predictions of the student that sees the ground truth alone (the first round's model).
        pred_zero: f₀, predictions of the student that sees the teacher alone.
        target: the ground truth, of the same shape; for classes their one-hot rows.
        clip: restrict to [0, 1]. False gives the minimum itself: negative where more shrinkage is wanted than the
            teacher's.

    Returns:
        α*, a float without unit. Source: Borup and Andersen (2021), arXiv:2102.13088, on the optimal α.

    Raises:
        ValueError: shapes that differ, nothing in them, or a value that is NaN or infinite.
    """
    one, zero, wanted = (torch.as_tensor(each).detach().double() for each in (pred_one, pred_zero, target))
    if not one.shape == zero.shape == wanted.shape:
        raise ValueError(
            f"pred_one is {tuple(one.shape)}, pred_zero {tuple(zero.shape)} and target {tuple(wanted.shape)}: "
            "they must have one shape (one-hot rows for classes)"
        )
    if one.numel() == 0:
        raise ValueError("there is no validation sample: the best alpha cannot be found without one")
    difference = one - zero
    square = float(difference.square().sum())
    found = float(((wanted - zero) * difference).sum())
    if not (abs(found) < float("inf") and square < float("inf")):
        raise ValueError("a prediction or a target is NaN or infinite: the best alpha cannot be found from it")
    if square <= _SAME * float(one.square().sum()):
        return 1.0
    return min(1.0, max(0.0, found / square)) if clip else found / square


def ground_truth_share(alpha: float | None, ground_truth_weight: float | None) -> float:
    """α under either of its two names.

    Raises:
        ValueError: both or neither are given, or it is not in [0, 1].
    """
    if (alpha is None) == (ground_truth_weight is None):
        raise ValueError(
            f"alpha is {alpha} and ground_truth_weight {ground_truth_weight}: give one of these two names of α"
        )
    weight = float(ground_truth_weight if alpha is None else alpha)  # type: ignore[arg-type]
    if not 0 <= weight <= 1:
        raise ValueError(
            f"alpha is {weight}: the weight of the ground truth goes from 0 (the teacher alone) to 1 (no distillation)"
        )
    return weight


def class_probabilities(target: Shaped[Tensor, "..."], logits: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Targets as probabilities of the shape and type of the logits (…, C): class numbers become one-hot rows.

    Raises:
        ValueError: shapes that do not fit, or a label out of range.
    """
    if target.is_floating_point():
        if target.shape != logits.shape:
            raise ValueError(
                f"the logits are {tuple(logits.shape)}, the probabilities {tuple(target.shape)}: "
                "they must have one shape"
            )
        return target.to(logits.dtype)
    if target.shape != logits.shape[:-1]:
        raise ValueError(
            f"the logits are {tuple(logits.shape)} and the class numbers {tuple(target.shape)}: "
            "wanted are (…, C) and (…)"
        )
    classes = logits.shape[-1]
    if not torch.compiler.is_compiling():  # a value that is looked at breaks the graph
        low, high = (int(bound) for bound in target.aminmax()) if target.numel() else (0, 0)
        if low < 0 or high >= classes:
            raise ValueError(
                f"the labels run from {low} to {high}, and there are {classes} logits (labels 0 to {classes - 1})"
            )
    return F.one_hot(target.long(), classes).to(logits.dtype)


def _wide(logits: Tensor) -> Tensor:
    """Probabilities of 16-bit logits are computed in float32."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def _squared(logits: Tensor, wanted: Tensor, relative: bool = False) -> Tensor:
    return F.mse_loss(F.softmax(logits, -1), wanted)


def _divergence(logits: Tensor, wanted: Tensor, relative: bool = False) -> Tensor:
    """Mean of −Σ p log q; `relative` takes the entropy of p off, which leaves the Kullback-Leibler divergence."""
    cross = -(wanted * F.log_softmax(logits, -1)).sum(-1).mean()
    return cross + torch.xlogy(wanted, wanted).sum(-1).mean() if relative else cross
