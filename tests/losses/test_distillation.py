import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from normkit.losses import distillation_loss, optimal_alpha

Z = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
TEACHER = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
LABELS = torch.tensor([0, 3, 1, 1, 2, 0])
ONE_HOT = F.one_hot(LABELS, 4).double()


def mse(alpha: float, t: float = 1.0) -> Tensor:
    q, taught = (Z / t).softmax(-1), (TEACHER / t).softmax(-1)
    truth = (Z.softmax(-1) - ONE_HOT).square().mean()
    return alpha * truth + (1 - alpha) * t * t * (q - taught).square().mean()


def kl(alpha: float, t: float = 1.0) -> Tensor:
    taught = F.kl_div((Z / t).log_softmax(-1), (TEACHER / t).log_softmax(-1), log_target=True, reduction="batchmean")
    return alpha * F.cross_entropy(Z, LABELS) + (1 - alpha) * t * t * taught


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_it_is_the_two_distances_mixed(alpha: float, temperature: float) -> None:
    for kind, wanted in (("mse-softmax", mse), ("ce-kl", kl)):
        ours = distillation_loss(Z, TEACHER, LABELS, alpha, kind, temperature)
        torch.testing.assert_close(ours, wanted(alpha, temperature))
        named = distillation_loss(Z, TEACHER, LABELS, ground_truth_weight=alpha, kind=kind, temperature=temperature)
        assert torch.equal(named, ours)


@pytest.mark.parametrize("kind", ["mse-softmax", "ce-kl"])
def test_targets_as_probabilities_and_more_axes(kind: str) -> None:
    plain = distillation_loss(Z, TEACHER, LABELS, 0.4, kind)
    torch.testing.assert_close(distillation_loss(Z, TEACHER, ONE_HOT, 0.4, kind), plain)
    shaped = distillation_loss(Z.view(2, 3, 4), TEACHER.view(2, 3, 4), LABELS.view(2, 3), 0.4, kind)
    torch.testing.assert_close(shaped, plain)


@pytest.mark.parametrize("kind", ["mse-softmax", "ce-kl"])
def test_gradients_flow_into_the_student_alone(kind: str) -> None:
    student, teacher = Z.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: distillation_loss(z, teacher, LABELS, 0.4, kind, 2.0), student)
    distillation_loss(student, teacher, LABELS, 0.4, kind).backward()
    assert teacher.grad is None


@pytest.mark.parametrize("kind", ["mse-softmax", "ce-kl"])
def test_the_first_round_needs_no_teacher(kind: str) -> None:
    torch.testing.assert_close(
        distillation_loss(Z, None, LABELS, 1.0, kind), distillation_loss(Z, Z, LABELS, 1.0, kind)
    )


def test_half_precision_is_computed_in_float32() -> None:
    loss = distillation_loss(Z.bfloat16(), TEACHER.bfloat16(), LABELS, 0.4)
    assert loss.dtype == torch.float32
    wide = distillation_loss(Z.bfloat16().float(), TEACHER.bfloat16().float(), LABELS, 0.4)
    assert torch.equal(loss, wide)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 1.2}, "alpha is 1.2: the weight of the ground truth goes from 0"),
        ({"alpha": float("nan")}, "alpha is nan"),
        ({"alpha": None}, "alpha is None and ground_truth_weight None: give one of these two"),
        ({"alpha": 0.2, "ground_truth_weight": 0.2}, "give one of these two"),
        ({"kind": "mse"}, "kind is 'mse': it must be one of mse-softmax, ce-kl"),
        ({"temperature": 0.0}, "temperature is 0.0: it must be positive"),
        ({"teacher_logits": None}, "there are no teacher_logits: only alpha=1 does without"),
        ({"teacher_logits": TEACHER[:3]}, r"student's logits are \(6, 4\) and the teacher's \(3, 4\)"),
        ({"target": LABELS[:3]}, r"the logits are \(6, 4\) and the class numbers \(3,\)"),
        ({"target": ONE_HOT[:3]}, r"the logits are \(6, 4\), the probabilities \(3, 4\)"),
        ({"target": LABELS + 1}, r"the labels run from 1 to 4, and there are 4 logits \(labels 0 to 3\)"),
    ],
)
def test_what_does_not_fit_is_said(options: dict[str, Any], message: str) -> None:
    chosen = {"logits": Z, "teacher_logits": TEACHER, "target": LABELS, "alpha": 0.4} | options
    with pytest.raises(ValueError, match=message):
        distillation_loss(**chosen)


COMPILED = """
import torch
from normkit.losses import distillation_loss
z, labels = torch.randn(2, 6, 4), torch.tensor([0, 3, 1, 1, 2, 0])
compiled = torch.compile(distillation_loss, fullgraph=True, backend="eager")
for kind in ("mse-softmax", "ce-kl"):
    torch.testing.assert_close(compiled(*z, labels, 0.4, kind), distillation_loss(*z, labels, 0.4, kind))
"""


@pytest.mark.slow
def test_class_numbers_compile_into_one_graph() -> None:
    """In a process of its own: the run-time check of annotations, which tests switch on, cannot be traced."""
    subprocess.run([sys.executable, "-c", COMPILED], check=True)


def test_no_sample_has_no_mean() -> None:
    for target in (LABELS[:0], ONE_HOT[:0]):
        with pytest.raises(ValueError, match=r"the logits are \(0, 4\): a mean needs one sample at least"):
            distillation_loss(Z[:0], TEACHER[:0], target, 0.4)


@given(st.integers(0, 10**6), st.floats(-3, 3))
def test_no_weight_has_a_smaller_error(seed: int, alpha: float) -> None:
    one, zero, target = np.random.default_rng(seed).normal(size=(3, 7, 2))
    best = optimal_alpha(one, zero, target, clip=False)
    error = lambda a: np.square(a * one + (1 - a) * zero - target).sum()  # noqa: E731
    assert error(best) <= error(alpha) + 1e-10
    clipped = optimal_alpha(one, zero, target)
    assert clipped == min(1.0, max(0.0, best))
    assert error(clipped) <= error(min(1.0, max(0.0, alpha))) + 1e-10


def test_arrays_and_tensors_of_any_type() -> None:
    one, zero, target = np.random.default_rng(0).normal(size=(3, 7, 2)).astype(np.float32)
    by_tensor = optimal_alpha(*(torch.from_numpy(each) for each in (one, zero, target)))
    assert by_tensor == optimal_alpha(one, zero, target)
    labels = np.eye(2, dtype=int)[[0, 1, 1]]
    assert optimal_alpha(labels * 1.0, labels * 0.0, labels) == 1.0


def test_students_that_are_one_get_the_ground_truth() -> None:
    same = np.random.default_rng(0).normal(size=(7, 2))
    assert optimal_alpha(same, same, same + 1) == 1.0
    assert optimal_alpha(same, same + 1e-8 * same, same + 1, clip=False) == 1.0
    assert optimal_alpha(np.zeros(3), np.zeros(3), np.ones(3)) == 1.0


def test_bad_predictions_are_said() -> None:
    good = np.ones((3, 2))
    with pytest.raises(ValueError, match=r"pred_zero \(3,\) and target \(3, 2\): they must have one shape"):
        optimal_alpha(good, good[:, 0], good)
    with pytest.raises(ValueError, match="there is no validation sample"):
        optimal_alpha(good[:0], good[:0], good[:0])
    for place in range(3):
        arrays = [good.copy(), 0 * good, 2 * good]
        arrays[place][1, 1] = float("nan")
        with pytest.raises(ValueError, match="is NaN or infinite"):
            optimal_alpha(*arrays)
