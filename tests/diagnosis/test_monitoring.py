import pytest
import torch
from torch import Tensor, nn

from normkit.diagnosis import Monitor, monitor
from normkit.models import Transformer
from tests.diagnosis.networks import convnet, images, same, state


def _train(model: nn.Module, batches: list[tuple[Tensor, Tensor]], lr: float = 0.01) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    model.train()
    for x, y in batches:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x).flatten(0, -2), y.flatten()).backward()
        optimizer.step()


def _watched(model: nn.Module, batches: list[tuple[Tensor, Tensor]], every: int = 4) -> Monitor:
    with monitor(model, every=every) as watch:
        _train(model, batches)
    return watch


def test_training_gives_the_same_network_with_and_without() -> None:
    models = []
    for watched in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(*convnet()[:-1], nn.Dropout(), nn.Linear(8, 10))
        if watched:
            _watched(model, images(4, 12))
        else:
            _train(model, images(4, 12))
        models.append(model)
    first, second = (model.state_dict() for model in models)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_hooks_are_gone_afterwards_also_when_the_loop_raises() -> None:
    model = convnet()
    before = state(model)["hooks"]
    with pytest.raises(KeyboardInterrupt), monitor(model):
        raise KeyboardInterrupt
    assert state(model)["hooks"] == before
    assert not any(parameter._post_accumulate_grad_hooks for parameter in model.parameters())


def test_pairs_of_steps_are_watched() -> None:
    watch = _watched(convnet(), images(4, 12), every=4)
    assert watch.steps == 12
    assert watch.diagnosis().batches == 6
    assert [step for step, _ in watch.gradient_norms] == [0, 1, 4, 5, 8, 9]


def test_the_noise_of_the_batch_is_told_from_the_drift_of_the_weights() -> None:
    small = _watched(convnet(), images(1, 40)).diagnosis()
    large = _watched(convnet(), images(128, 8)).diagnosis()
    assert small["batch-noise"].severity == "act"
    assert large["batch-noise"].severity == "ok"


def test_gradient_norms_are_the_models_own() -> None:
    model = convnet()
    with monitor(model, every=2) as watch:
        x, y = images(4)[0]
        nn.functional.cross_entropy(model(x), y).backward()
    norm = torch.stack([parameter.grad.norm() for parameter in model.parameters()]).norm()
    assert watch.gradient_norms[0][1] == pytest.approx(float(norm), rel=1e-5)


def test_spikes_are_steps_far_above_the_median() -> None:
    watch = monitor(convnet())
    watch.gradient_norms = [(step, 1.0) for step in range(5)] + [(5, 3.5), (6, 1.0), (7, float("nan"))]
    assert watch.spikes() == [5, 7]


def test_a_transformer_is_followed_and_rehearsing_probes_say_to_use_diagnose() -> None:
    torch.manual_seed(0)
    ids = torch.randint(20, (6, 4, 9))
    watch = _watched(Transformer(20, 16, 2, 2), [(each[:, :-1], each[:, 1:]) for each in ids])
    diagnosis = watch.diagnosis()
    assert diagnosis["variance-growth"].detail["spikes"] == []
    reasons = {each.probe: each.reason for each in diagnosis.skipped}
    assert "use diagnose" in reasons["redundant-mean"]
    assert "use diagnose" in reasons["precision"]


def test_evaluation_between_steps_is_not_watched() -> None:
    model = convnet()
    with monitor(model, every=2) as watch:
        model.eval()
        model(images(4)[0][0])
    assert watch.steps == 0
    assert watch.diagnosis().findings == ()


def test_the_diagnosis_can_be_asked_for_within_the_loop() -> None:
    model = convnet()
    with monitor(model, every=2) as watch:
        _train(model, images(4, 4))
        assert watch.diagnosis()["batch-noise"].figure > 0
        _train(model, images(4, 4))
    assert watch.steps == 8


def test_hanging_the_hooks_changes_nothing() -> None:
    model = convnet().train()
    before = state(model)
    with monitor(model, every=2):
        pass
    assert same(before, state(model))


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="2 or more"):
        monitor(convnet(), every=1)
    with pytest.raises(ValueError, match="no probe"):
        monitor(convnet(), probes="nothing")
