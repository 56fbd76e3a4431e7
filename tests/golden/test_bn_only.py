"""The CIFAR residual net with nothing but γ and β trained, against the authors' model and freezing code."""

import re

import pytest
import torch
from torch.nn import functional as F

from normkit.models import CIFARResNet, cifar_resnet
from normkit.weights import freeze
from tests.golden.conftest import Golden

TOLERANCE = 1e-4
RECIPE = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4}


def _model(golden: Golden) -> CIFARResNet:
    found = re.fullmatch(r"cifar_resnet_(\d+)_(\d+)", str(golden["model_name"]))
    assert found is not None
    classes, channels = golden["init/fc.weight"].shape[0], golden["init/conv.weight"].shape[1]
    model = cifar_resnet(int(found[1]), int(found[2]), in_channels=channels, num_classes=classes)
    state = {name: golden.tensor(f"init/{name}") for name in golden.cases(r"init/(.*)")}
    model.load_state_dict(state, strict=True)
    return model.train()


@pytest.fixture
def model(golden: Golden) -> CIFARResNet:
    return _model(golden)


def test_what_trains(golden: Golden, model: CIFARResNet) -> None:
    chosen = freeze(model)
    assert sorted(chosen.trained) == [str(name) for name in golden["trainable"]]
    assert (chosen.count, chosen.total) == (int(golden["n_trainable"]), int(golden["n_total"]))


def test_training(golden: Golden, model: CIFARResNet) -> None:
    trained = freeze(model).trained
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], **RECIPE)
    for step, (x, y) in enumerate(zip(golden.tensor("x"), golden.tensor("y"), strict=True)):
        optimizer.zero_grad()
        logits = model(x)
        loss = F.cross_entropy(logits, y)
        loss.backward()
        assert abs(loss.item() - float(golden["losses"][step])) <= TOLERANCE
        if step == 0:
            _close(logits, golden.tensor("logits_train_0"))
            for name in golden.cases(r"grad0/(.*)"):
                _close(model.get_parameter(name).grad, golden.tensor(f"grad0/{name}"))
        optimizer.step()
    state = model.state_dict()
    kept = golden.cases(r"after3/(.*)")
    for name in kept:
        _close(state[name], golden.tensor(f"after3/{name}"))
    assert set(trained) <= set(kept)
    assert all(torch.equal(state[name], before[name]) for name in state if name not in kept)


def _close(ours: torch.Tensor | None, wanted: torch.Tensor) -> None:
    assert ours is not None
    assert ours.shape == wanted.shape
    assert (ours.detach().double() - wanted.double()).abs().max().item() <= TOLERANCE
