import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from normkit import data
from normkit.losses import distillation_loss, optimal_alpha
from normkit.training import DistillationLoss, estimate_alpha, evaluating, fit, self_distill

GENERATOR = torch.Generator().manual_seed(3)
X = torch.randn(120, 5, generator=GENERATOR)
Y = (X[:, 0] > 0).long() + (X[:, 1] > 0.5).long()
NOISY = torch.where(torch.rand(120, generator=GENERATOR) < 0.3, torch.randint(3, (120,), generator=GENERATOR), Y)


def network() -> nn.Module:
    """With dropout and running statistics, which a teacher in train mode would get wrong."""
    return nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))


def train_loader() -> DataLoader[tuple[Tensor, Tensor]]:
    return data.batches(X[:80], NOISY[:80], 16)


def val_loader() -> DataLoader[tuple[Tensor, Tensor]]:
    return data.batches(X[80:], NOISY[80:], 16)


def distilled(**options: Any) -> Any:
    return self_distill(network, train_loader(), val_loader(), **({"rounds": 3, "epochs": 2} | options))


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(one, two) for one, two in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_the_loss_asks_the_teacher_in_eval_mode_and_leaves_it_as_it_was() -> None:
    teacher, student = network().train(), network()
    teacher[3].eval()
    modes, before = [m.training for m in teacher.modules()], {k: v.clone() for k, v in teacher.state_dict().items()}
    loss = DistillationLoss(teacher, 0.3, "ce-kl", 2.0, student, 0.01)
    output = student(X)
    value = loss(output, (X, Y))
    with evaluating(teacher):
        taught = teacher(X)
    norms = sum(parameter.norm() for parameter in student.parameters())
    torch.testing.assert_close(value, distillation_loss(output, taught, Y, 0.3, "ce-kl", 2.0) + 0.01 * norms)
    assert [m.training for m in teacher.modules()] == modes
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
    value.backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_the_teacher_is_no_part_of_the_students_checkpoint(tmp_path: Path) -> None:
    student = network()
    fit(
        student, train_loader(), steps=2, loss=DistillationLoss(network(), 0.5), checkpoint=tmp_path / "run.safetensors"
    )
    size = sum(value.numel() * value.element_size() for value in student.state_dict().values())
    assert (tmp_path / "run.safetensors").stat().st_size < size + 60_000
    again = network()
    fit(again, train_loader(), steps=2, loss=DistillationLoss(network(), 0.5), checkpoint=tmp_path / "run.safetensors")
    assert same(student, again)


def test_alpha_is_estimated_by_the_formula_whatever_the_order_of_the_data() -> None:
    first, zero = network().train(), network()
    with evaluating(first), evaluating(zero):
        one, zeros = first(X[80:]).double().softmax(-1), zero(X[80:]).double().softmax(-1)
    wanted = optimal_alpha(one, zeros, nn.functional.one_hot(NOISY[80:], 3), clip=False)
    for loader in (val_loader(), [(X[80:], NOISY[80:])]):
        assert estimate_alpha(first, zero, loader, clip=False) == pytest.approx(wanted, rel=1e-5)
    assert first.training
    with pytest.raises(ValueError, match="hold 1 samples: an estimate of alpha needs at least 2"):
        estimate_alpha(first, zero, [(X[:1], Y[:1])])
    with pytest.raises(ValueError, match="needs pairs"):
        estimate_alpha(first, zero, [X[:4]])


def test_rounds_with_a_given_alpha_are_what_one_would_write() -> None:
    run = distilled(alpha=0.4, rounds=2, seed=5)
    assert [each.alpha for each in run.rounds] == [1.0, 0.4]
    assert [each.trainings for each in run.rounds] == [1, 1]
    teacher = None
    for number, ours in enumerate(run.models):
        torch.manual_seed(5 + number)
        student = network()
        loss = DistillationLoss(teacher, 1.0 if teacher is None else 0.4, regularized=student, regularization=1e-4)
        adam = lambda parameters: torch.optim.Adam(parameters, 1e-3)  # noqa: E731
        loader = data.batches(X[:80], NOISY[:80], 16, seed=5 + number)
        fit(student, loader, epochs=2, loss=loss, optimizer=adam, seed=5 + number)
        assert same(student, ours)
        teacher = student


def test_an_estimate_costs_one_training_more_a_round() -> None:
    run = distilled()
    assert run.rounds[0].trainings == 1
    for each in run.rounds[1:]:
        assert 0 <= each.alpha <= 1
        assert each.trainings == (1 if each.alpha == 0 else 2)
    assert run.trainings == sum(each.trainings for each in run.rounds)
    assert run.model is run.models[-1]
    losses = [each.val_loss for each in run.rounds]
    assert run.best is run.models[losses.index(min(losses))]
    with evaluating(run.model):
        probabilities = run.model(X[80:]).softmax(-1)
    wanted = (probabilities - nn.functional.one_hot(NOISY[80:], 3)).square().mean()
    assert run.rounds[-1].val_loss == pytest.approx(wanted.item(), rel=1e-5)
    assert run.rounds[-1].accuracy == (probabilities.argmax(1) == NOISY[80:]).double().mean().item()


def test_the_callers_randomness_is_left_alone_and_the_seed_decides() -> None:
    before = torch.get_rng_state()
    runs = [distilled(rounds=2, seed=seed) for seed in (1, 1, 2)]
    assert torch.equal(before, torch.get_rng_state())
    assert same(runs[0].model, runs[1].model)
    assert not same(runs[0].model, runs[2].model)


def test_a_run_that_was_stopped_goes_on_to_the_same_result(tmp_path: Path) -> None:
    whole = distilled(seed=2)

    def stop(step: int, loss: float, model: nn.Module) -> None:
        counted.append(step)
        if len(counted) == 27:  # in the third training
            raise KeyboardInterrupt

    counted: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        distilled(seed=2, out=tmp_path / "run", callback=stop)
    resumed = distilled(seed=2, out=tmp_path / "run")
    assert [each.alpha for each in resumed.rounds] == [each.alpha for each in whole.rounds]
    assert all(same(a, b) for a, b in zip(resumed.models, whole.models, strict=True))
    assert not list((tmp_path / "run").glob("*.part"))


def test_another_run_does_not_go_on_in_its_place(tmp_path: Path) -> None:
    distilled(alpha=0.4, rounds=1, out=tmp_path)
    assert json.loads((tmp_path / "self-distillation.json").read_text())["alpha"] == 0.4
    with pytest.raises(ValueError, match=r"holds a run with other settings \(alpha was 0.4\)"):
        distilled(alpha=0.5, rounds=1, out=tmp_path)
    distilled(alpha=0.4, rounds=1, out=tmp_path / "clipped", clip=1e-3)
    with pytest.raises(ValueError, match=r"holds a run with other settings \(clip was 0.001\)"):
        distilled(alpha=0.4, rounds=1, out=tmp_path / "clipped")
    with pytest.raises(ValueError, match=r"holds a run with other settings \(clip was None\)"):
        distilled(alpha=0.4, rounds=1, out=tmp_path, clip=1e-3)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"rounds": 0}, ValueError, "rounds is 0: it must be a whole number of at least 1"),
        ({"rounds": "x"}, ValueError, "rounds is 'x': it must be a whole number"),
        ({"alpha": [0.2]}, ValueError, r"alpha is \[0.2\]: it must be a number from 0 to 1 or 'estimate'"),
        ({"temperature": 0}, ValueError, "temperature is 0: it must be a finite number above 0"),
        ({"regularization": [1.0]}, ValueError, r"regularization is \[1.0\]: it must be a finite number"),
        ({"regularization": -1e-4}, ValueError, "regularization is -0.0001: it must be a finite number of at least 0"),
        ({"alpha": 1.5}, ValueError, "alpha is 1.5: the weight of the ground truth"),
        ({"alpha": "grid"}, ValueError, "alpha is 'grid': it must be a number from 0 to 1 or 'estimate'"),
        ({"alpha": 0.2, "ground_truth_weight": 0.2}, ValueError, "two names of one weight"),
        ({"loss": "mse"}, ValueError, "loss is 'mse': it must be one of mse-softmax, ce-kl"),
        ({"checkpoint": "x"}, TypeError, "self_distill sets checkpoint itself: for checkpoints pass out=FOLDER"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_trained(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    def never() -> nn.Module:
        raise AssertionError("a network was made")

    call = getattr(self_distill, "__wrapped__", self_distill)  # annotations are checked in tests alone
    with pytest.raises(error, match=message):
        call(never, train_loader(), val_loader(), **options)


def test_the_name_that_cannot_be_mistaken() -> None:
    assert distilled(ground_truth_weight=0.25, rounds=2).rounds[1].alpha == 0.25
    assert distilled(ground_truth_weight="estimate", rounds=1).rounds[0].alpha == 1.0
