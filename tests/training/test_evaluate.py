import pytest
import torch
from torch import nn

from normkit import data
from normkit.training import accuracy, evaluating, mean_loss


class Parity(nn.Module):
    """Says 1 for odd inputs."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        odd = x % 2
        return torch.stack([1 - odd, odd], -1)


X = torch.arange(2000.0)
Y = (X % 2).long()


def test_accuracy_of_tensors_and_loaders() -> None:
    assert accuracy(Parity(), X, Y) == 1
    wrong = Y.clone()
    wrong[:500] = 1 - wrong[:500]
    assert accuracy(Parity(), X, wrong) == 0.75
    assert accuracy(Parity(), data.batches(X, wrong, 7)) == 0.75


def test_accuracy_of_sequences() -> None:
    assert accuracy(Parity(), X.view(20, 100), Y.view(20, 100)) == 1


def test_modes_are_given_back_as_they_were() -> None:
    model = nn.Sequential(nn.BatchNorm1d(1), nn.BatchNorm1d(1), nn.Linear(1, 2)).train()
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    accuracy(model, X[:8, None], Y[:8])
    assert [module.training for module in model] == [True, False, True]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())

    def fail() -> None:
        with evaluating(model):
            assert not model.training
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [module.training for module in model] == [True, False, True]


def test_mean_loss_weighs_samples_alike() -> None:
    model = Parity()
    whole = mean_loss(model, X[:10], Y[:10])
    cut = mean_loss(model, data.batches(X[:10], Y[:10], 4, shuffle=False))
    assert cut == pytest.approx(whole)
    assert whole == pytest.approx(torch.nn.functional.cross_entropy(model(X[:10]), Y[:10]).item())


def test_nothing_to_judge_is_named() -> None:
    for judge in (accuracy, mean_loss):
        with pytest.raises(ValueError, match="yields nothing"):
            judge(Parity(), [])
    with pytest.raises(ValueError, match="no targets"):
        accuracy(Parity(), [X])
    with pytest.raises(ValueError, match="do not fit"):
        accuracy(Parity(), X, Y[:, None])
