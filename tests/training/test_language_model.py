import copy
import math

import pytest
import torch
from torch import Tensor, nn

from normkit.data import text_batches
from normkit.training import batch_statistics_loss, fit_language_model, mean_loss


class Bigram(nn.Module):
    """Logits of the next token from this one, after a norm over all positions."""

    def __init__(self, norm: nn.Module, dropout: float = 0.0) -> None:
        super().__init__()
        self.embed, self.norm, self.head = nn.Embedding(5, 8), norm, nn.Linear(8, 5)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        return self.head(self.dropout(self.norm(x.flatten(0, 1)).view_as(x)))


CYCLE = torch.arange(4000) % 5


def test_it_learns_what_follows_what() -> None:
    run = fit_language_model(Bigram(nn.LayerNorm(8)), CYCLE, CYCLE, context=10, steps=150, lr=2e-2, warmup=5)
    assert len(run.losses) == 150
    assert run.losses[0] > 1
    assert run.validation < 0.05
    assert run.validation_batch == pytest.approx(run.validation, rel=1e-6)


def test_batch_statistics_are_those_of_the_batch_and_the_model_stays() -> None:
    model = Bigram(nn.BatchNorm1d(8, affine=False), dropout=0.5)
    model.norm.running_mean.fill_(3.0)
    before = copy.deepcopy(model.state_dict())
    batches = text_batches(CYCLE, 10, 4, 3)
    plain = copy.deepcopy(model)
    plain.norm = nn.BatchNorm1d(8, affine=False, track_running_stats=False)
    assert batch_statistics_loss(model, batches) == pytest.approx(mean_loss(plain, batches), rel=1e-5)
    assert mean_loss(model, batches) != pytest.approx(mean_loss(plain, batches), rel=0.05)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_the_rate_and_the_windows_are_as_said() -> None:
    """One plain step at the first rate of the warm-up: AdamW's first step has the length lr/warmup in each entry."""
    model = Bigram(nn.LayerNorm(8))
    start = model.head.bias.detach().clone()
    seen = []
    fit_language_model(
        model, CYCLE, CYCLE, context=10, steps=1, lr=1e-2, warmup=4, weight_decay=0.0,
        callback=lambda step, loss, m: seen.append((step, loss, m.head.bias.grad is not None)),
    )  # fmt: skip
    assert torch.allclose((model.head.bias - start).abs(), torch.full((5,), 1e-2 / 4), rtol=1e-3)
    assert [entry[0] for entry in seen] == [0]
    assert seen[0][2]


def test_two_runs_are_one() -> None:
    def run(seed: int) -> list[float]:
        torch.manual_seed(0)
        return fit_language_model(Bigram(nn.LayerNorm(8)), CYCLE, CYCLE, context=10, steps=5, seed=seed).losses

    assert run(0) == run(0)
    assert run(0) != run(1)


def test_what_goes_wrong_is_said() -> None:
    with pytest.raises(ValueError, match="a context of 48 needs at least 49"):
        fit_language_model(Bigram(nn.LayerNorm(8)), CYCLE, CYCLE[:20])
    with pytest.raises(FloatingPointError, match="at step"):
        fit_language_model(Bigram(nn.Identity()), CYCLE, CYCLE, context=10, lr=math.inf, warmup=0)
