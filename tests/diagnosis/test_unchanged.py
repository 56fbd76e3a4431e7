import random

import numpy as np
import pytest
import torch
from torch import nn

from normkit.diagnosis import ModuleProbe, Site, diagnose
from normkit.diagnosis._framework.unchanged import buffers_kept, mode, unchanged
from tests.diagnosis.networks import convnet, images, same, state


class Raises(ModuleProbe):
    slug, unit, threshold, threshold_source = "raises", "", 0.0, "a test"

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def applies(self, module: nn.Module) -> bool:
        return isinstance(module, nn.Linear)

    def watch(self, place: object, input: torch.Tensor, output: torch.Tensor) -> None:
        raise self.error

    def finding(self, place: object) -> Site | None:
        return None

    def summary(self, sites: list[Site]) -> str:
        return ""


def _prepared() -> nn.Module:
    """A model with all that could be lost: gradients, a frozen part, hooks of the user's own, mixed modes."""
    model = convnet()
    x, y = images(4)[0]
    nn.functional.cross_entropy(model(x), y).backward()
    model[0].weight.requires_grad_(False)
    model[1].eval()
    model[4].register_forward_hook(lambda *_: None)
    model.register_forward_pre_hook(lambda *_: None)
    return model


def test_a_diagnosis_changes_nothing_in_the_model() -> None:
    model = _prepared()
    before = state(model)
    diagnose(model, images(4))
    assert same(before, state(model))


@pytest.mark.parametrize("error", [RuntimeError("probe"), KeyboardInterrupt()])
def test_nothing_changes_when_a_probe_raises_or_the_user_interrupts(error: BaseException) -> None:
    model = _prepared()
    before = state(model)
    with pytest.raises(type(error)):
        diagnose(model, images(4), probes=["batch-noise", "elimination", Raises(error)])
    assert same(before, state(model))


def test_the_generators_are_where_they_were() -> None:
    # random is not asked for here: beartype, which checks the annotations in the tests, draws from it
    model = nn.Sequential(convnet(), nn.Dropout())
    for seed in (torch.manual_seed, np.random.seed):
        seed(5)
    expected = torch.rand(1).item(), np.random.rand()
    for seed in (torch.manual_seed, np.random.seed):
        seed(5)
    diagnose(model, images(4))
    assert (torch.rand(1).item(), np.random.rand()) == expected


def test_inside_they_start_at_the_seed() -> None:
    before = random.getstate()
    drawn = []
    for _ in range(2):
        with unchanged(nn.Linear(1, 1), seed=7):
            drawn.append((torch.rand(1).item(), np.random.rand(), random.random()))
    assert drawn[0] == drawn[1]
    assert random.getstate() == before


def test_the_loaders_own_generator_is_where_it_was() -> None:
    from normkit.data import batches

    def loader() -> torch.utils.data.DataLoader:
        return batches(torch.randn(32, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(32) % 10, 8)

    used, fresh = loader(), loader()
    diagnose(convnet(), used)
    assert all(torch.equal(a[1], b[1]) for a, b in zip(used, fresh, strict=True))


def test_what_a_forward_pass_itself_changes_is_put_back() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.calls = convnet(), 0
            self.register_buffer("seen", torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            self.seen = self.seen + 1  # another object under the same name
            with torch.no_grad():
                self.inner[0].weight.add_(1)
            return self.inner(x)

    model = Counts()
    before = state(model)
    diagnose(model, images(4))
    assert same(before, state(model))
    assert model.calls == 0


def test_replaced_gradients_and_flags_come_back() -> None:
    model = _prepared()
    before = state(model)
    with unchanged(model):
        for parameter in model.parameters():
            parameter.requires_grad_(True)
            parameter.grad = torch.ones_like(parameter)
        model.train()
        torch.set_grad_enabled(False)
    assert torch.is_grad_enabled()
    assert same(before, state(model))


def test_the_fused_transformer_path_is_open_again() -> None:
    before = torch.backends.mha.get_fastpath_enabled()
    with unchanged(nn.Linear(1, 1)):
        assert not torch.backends.mha.get_fastpath_enabled()
    assert torch.backends.mha.get_fastpath_enabled() == before


def test_training_mode_leaves_frozen_modules_frozen() -> None:
    model = convnet()
    model[1].eval()
    with mode(model, training=True):
        assert not model[1].training
    model.eval()
    with mode(model, training=True):
        assert model[1].training
    assert not any(module.training for module in model.modules())


def test_buffers_move_inside_only() -> None:
    model = convnet()
    before = state(model)
    with buffers_kept(model):
        model(images(4)[0][0])
        assert not same(before, state(model))
    assert same(before, state(model))
